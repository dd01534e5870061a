"""Masks that people made in annotation tools, read back: CVAT, Label Studio, COCO and VOC."""
