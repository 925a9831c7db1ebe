"""The small pictures that these tests pack and read."""

from pictures_on_disk import calls, journal, read_picture, records, slow_picture, store_dir

__all__ = ["calls", "journal", "read_picture", "records", "slow_picture", "store_dir"]
