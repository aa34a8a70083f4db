"""What is kept of decoded images and resampled scans."""

from jsonargparse import ArgumentParser

from unlikelihood.data import kept


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `cache`."""
    parser.add_argument(
        "--clear", action="store_true", help="remove what is made of your files, which is made again when it is needed"
    )


def run(clear: bool) -> None:
    """Print what the cache holds and may hold, and clear it of what can be made again."""
    print(f"{'folder':<12} {kept.folder()}")
    for kind, what in kept.MADE.items():
        own = [entry for entry in kept.entries() if entry.place.parent.name == kind]
        if clear:
            kept.clear(kind)
        print(f"{kind:<12} {sum(entry.size for entry in own) / 2**20:10,.1f} MiB{', removed' * clear}: {what}")
    print(f"{'downloads':<12} {kept.downloads() / 2**20:10,.1f} MiB: public data sets, which stay")
    print(f"{'limit':<12} {kept.limit() / 2**20:10,.1f} MiB of what is made, $UNLIKELIHOOD_CACHE_LIMIT in GiB")
