"""The way in for `python -m smentry.ctl`."""

from smentry.ctl.main import main

if __name__ == "__main__":
    raise SystemExit(main())
