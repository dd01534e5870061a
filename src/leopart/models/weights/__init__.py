"""Which backbones there are, and bringing their weights to this machine: fetch, check, convert, keep."""
