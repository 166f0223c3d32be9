"""The measurements: a module each, with `add_arguments(parser)` and `run(options, kinds, root, report)`."""

from . import cold, density, expiry, growth, items, memory, micro, misses, overwrite, powerloss, restart, throughput, writeback

modules = (throughput, restart, memory, growth, powerloss, density, expiry, writeback, overwrite, misses, cold, items, micro)
