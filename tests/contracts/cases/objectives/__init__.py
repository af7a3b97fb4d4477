"""Cases of the objectives, a file a room."""
