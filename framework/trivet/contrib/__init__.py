"""What most applications can live without: each module is imported by its own name, and none by `trivet`."""
