"""An eval of py3langid, a language identifier that runs offline."""
