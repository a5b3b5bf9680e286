#!/bin/bash
# Today's style: functions named for what they do, a main at the end.
readonly SSH_PORT=22
readonly WEB_PORTS=(80 443)

log() { echo "[fw] $*" >&2; }
die() { log "$@"; exit 1; }

require_root() {
  [[ $EUID -eq 0 ]] || die "must be root"
}

untrack_web() {
  local port
  for port in "${WEB_PORTS[@]}"; do
    iptables -t raw -A PREROUTING -p tcp --dport "$port" -j CT --notrack
    iptables -t raw -A OUTPUT -p tcp --sport "$port" -j CT --notrack
  done
}

filter() {
  iptables -P INPUT DROP
  iptables -A INPUT -i lo -j ACCEPT
  iptables -A INPUT -p tcp --dport "$SSH_PORT" -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
  iptables -A INPUT -p tcp -m multiport --dports "$(IFS=,; echo "${WEB_PORTS[*]}")" -j ACCEPT
}

main() {
  require_root
  untrack_web
  filter
  log "done"
}
main "$@"
