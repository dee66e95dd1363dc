"""The stages of a score, each usable alone; none of them imports the scorer or the server."""
