"""From legs to rulesets, one module a target. Never knows why a flow is untracked."""
