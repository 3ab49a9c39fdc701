"""``python -m cli``: what the script ``lab`` hands over to."""

from cli.app import main

if __name__ == "__main__":
    main()
