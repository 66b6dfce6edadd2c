"""The way in, for `smentry` and `python -m smentry`: block every signal, then load the rest."""

import _signal  # the C part of `signal`: without `enum`, which costs milliseconds at every start


def main() -> None:
    """Run smentry with `sys.argv` and end the interpreter with its exit code."""
    # A signal that comes while the modules load must wait, not be lost: PID 1 has no default actions, and a
    # blocked signal stays pending until the loop takes it (signal(7), sigwaitinfo(2)).
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())

    from smentry import cli

    cli.main(mask)


if __name__ == "__main__":
    main()
