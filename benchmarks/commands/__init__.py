"""The subcommands of `sketchless`, one module each."""
