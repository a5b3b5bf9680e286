"""The kernel model against the kernel: random rulesets, random packets, the same questions to both."""
