"""The main job: a folder of photos to masks that mean the same thing in every photo."""
