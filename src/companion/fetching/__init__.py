"""How inputs come to data/: where they lie, downloads, archives, mirrors, manifests."""
