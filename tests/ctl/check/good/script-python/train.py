"""Reads its channel, trains, and saves when it is asked to stop."""

import signal
import multiprocessing


def ignore_in_worker() -> None:
    # The parent is told, and ends the workers when it has saved.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


stop = False


def on_stop(*_):
    global stop
    stop = True


def main():
    with multiprocessing.Pool(4, initializer=ignore_in_worker) as pool:
        signal.signal(signal.SIGTERM, on_stop)
        while not stop:
            pool.map(abs, range(1000))


if __name__ == "__main__":
    main()
