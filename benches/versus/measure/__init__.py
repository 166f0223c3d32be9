"""The measurements: a module each, with `add_arguments(parser)` and `run(options, kinds, root, report)`."""

from . import cold, density, expiry, fullsync, growth, items, memory, micro, misses, overwrite, powerloss, restart, throughput, writeback

modules = (throughput, restart, memory, growth, powerloss, density, expiry, writeback, overwrite, misses, cold, items, fullsync, micro)
