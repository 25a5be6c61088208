"""The images of a run, and files on this machine or behind a URL."""
