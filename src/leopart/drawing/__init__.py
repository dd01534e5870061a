"""Label maps as pictures: colours, masks at photo size, overlays."""
