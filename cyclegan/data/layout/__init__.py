"""Which files of a folder are images, of which split and domain, for all common layouts."""
