"""Zero-shot scores that the papers published."""

from __future__ import annotations

# ZSE-SBIR, unseen categories, by score (`ret`, `rn`) and metric, 0..1. Sketchy: the split with 25 unseen ones.
ZERO_SHOT: dict[str, dict[str, dict[str, float]]] = {
    "Sketchy": {"ret": {"mAP@all": 0.736, "P@100": 0.808}, "rn": {"mAP@all": 0.698, "P@100": 0.797}},
    "TU-Berlin": {"ret": {"mAP@all": 0.569, "P@100": 0.637}, "rn": {"mAP@all": 0.542, "P@100": 0.657}},
}
