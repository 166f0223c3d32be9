"""The measurements: a module each, with `add_arguments(parser)` and `run(options, kinds, root, report)`."""
