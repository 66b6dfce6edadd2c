from signal import SIG_IGN, SIGTERM, signal


def main():
    signal(SIGTERM, SIG_IGN)


main()
