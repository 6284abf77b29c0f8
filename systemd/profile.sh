# Tells whoever logs in what their boxes were warned of, once each.
case $- in
*i*) [ ! -e "$HOME/.local/state/devbox/life.json" ] || /usr/bin/devbox-ctl notices 2>/dev/null ;;
esac
