"""The page of `leopart view`: look through the masks of a run, name what was found, save labels."""
