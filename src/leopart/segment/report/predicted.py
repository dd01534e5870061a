"""The report of `leopart predict`: photos beside their masks, and how much of each part they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from leopart.run_record import versions
from leopart.segment.outputs import Written
from leopart.segment.part_model import PartModel
from leopart.segment.report.page import ObjectRow, PartRow, ReportPage
from leopart.segment.summary import Summary


def prediction_report(
    title: str, summary: Summary, model: PartModel, written: Sequence[Written]
) -> ReportPage:
    """The report of photos that were segmented by a saved segmenter.

    Shares are means over these photos; the segmenter's own report shows what its parts look like.

    Args:
        title: of the page.
        summary: of the run.
        model: of the segmenter.
        written: the photos that were segmented, at least one.
    """
    parts = np.stack([item.part_shares for item in written])
    objects = np.stack([item.object_shares for item in written])
    settings = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in summary.settings.items()
    }
    return ReportPage(
        title,
        replace(summary, counts=dict(summary.counts) | {"photos": len(written)}),
        settings,
        versions(),
        photos=[item.row for item in written],
        objects=_object_rows(model, parts, objects),
    )


def _object_rows(
    model: PartModel, parts: NDArray[np.float64], objects: NDArray[np.float64]
) -> list[ObjectRow]:
    """Objects that these photos show, the largest first; then the background, if it has parts.

    Args:
        model: says which parts an object mainly has.
        parts: share of each part of each photo, [N, K + 1].
        objects: share of each object of each photo, [N, M + 1].
    """
    found = [
        PartRow(
            part,
            int(model.object_of_part[part]),
            float(parts[:, part].mean()),
            int((parts[:, part] > 0).sum()),
        )
        for part in range(1, parts.shape[1])
        if parts[:, part].any()
    ]
    rows = []
    for number in range(objects.shape[1]):
        own = sorted((part for part in found if part.object == number), key=lambda part: -part.share)
        share = float(objects[:, number].mean()) if number else sum(part.share for part in own)
        if own or (number and share):
            rows.append(ObjectRow(number, own, share, int((objects[:, number] > 0).sum())))
    return sorted(rows, key=lambda row: (row.id == 0, -row.share))
