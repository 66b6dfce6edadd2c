#!/bin/bash
set -euo pipefail
case "${1:-}" in
  train)
    shift
    exec python -m mymodel.train "$@"
    ;;
  serve) exec gunicorn mymodel.app:app ;;
  *) exec "$@" ;;
esac
