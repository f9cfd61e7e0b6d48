"""Write an evaluation report in Markdown with plots; it contains no pictures of people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.classifier import LABELS
from model.training.evaluation import figures
from model.training.evaluation.calibration import COVERAGE, precision_recall
from model.training.evaluation.cases import Case, ways_of
from model.training.evaluation.metrics import ANSWERS, MIN_SLICE, SIZES, confusion

Metrics = Mapping[str, Any]
ALWAYS = {"roll", "stage"}  # traits whose bands are shown however few faces they have

ABOUT = """\
Faces of at least {min_size} pixels, split `{split}`. Figures are given as {ways}. *On boxes*: the
annotated box is classified. *End to end*: the face must be detected too, which it is if a detection
overlaps its box by .4 of their union or, where a set boxes heads, lies in the box to 70 %. *By
overlap alone*: without this exception for heads. `uncertain` and not found count as wrong. An
incorrectly worn mask is `no_mask`. *Balanced*: the mean recall of `mask` and `no_mask`. *Surest
{coverage:.0%}*: the accuracy of the more probable label without the least certain of the classified
faces."""

KINDS = """\
Accuracy. Pose, roll and stage are known only for detected faces; all bands of roll and stage are
shown. Occluders are known only per data set."""


def write(metrics: Metrics, cases: Sequence[Case], output: Path, montage: Path) -> str:
    """Write report.md and its plots into a folder; returns the report's text.

    metrics: metrics_of(cases) plus system, split and min_size. A montage of mistakes is linked if
    it is in that folder.
    """
    pictures = draw(metrics, cases, output)
    parts = [*sections(metrics), *(f"![{name}]({name}.png)" for name in pictures)]
    if montage.parent.resolve() == output.resolve():
        parts.append(
            f"The worst mistakes (pictures from the data sets): [{montage.name}]({montage.name})"
        )
    text = "\n\n".join(parts) + "\n"
    (output / "report.md").write_text(text)
    return text


def draw(metrics: Metrics, cases: Sequence[Case], output: Path) -> list[str]:
    """Draw the plots for which there is data; returns their names without .png."""
    ways = ways_of(cases)
    human = [c for c in cases if c.sample.human]
    parts = {"human boxes": human, "all faces": cases}
    matrices = {
        f"{name}, {figures.TITLES[key]}": confusion(part, way)
        for name, part in parts.items()
        if part
        for key, way in ways.items()
    }
    figures.confusion(matrices, LABELS, ANSWERS, output / "confusion.png")
    drawn = ["confusion"]
    areas = metrics["average_precision"]
    if areas:
        keys = [(key, label) for key in areas for label in LABELS]
        curves = {(k, label): precision_recall(cases, ways[k], label) for k, label in keys}
        figures.precision_recall(curves, areas, output / "precision_recall.png")
        drawn.append("precision_recall")
    if metrics["calibration"]:
        figures.reliability(metrics["calibration"], output / "reliability.png")
        drawn.append("reliability")
    figures.by_size(metrics["by_size"], output / "by_size.png")
    figures.slices(metrics["slices"], MIN_SLICE, output / "slices.png")
    return [*drawn, "by_size", "slices"]


def sections(metrics: Metrics) -> list[str]:
    """Return the report's title, paragraphs and tables."""
    parts = metrics["parts"]
    ways = [figures.TITLES[way] for way in next(iter(parts.values()))]
    large = [r for r in metrics["slices"] if r["faces"] >= MIN_SLICE or r["trait"] in ALWAYS]
    return [
        f"# Evaluation of {metrics['system']}",
        ABOUT.format(**metrics, coverage=COVERAGE, ways=" / ".join(ways)),
        table(("figure", "value"), summary(metrics)),
        "## Parts",
        table(
            (
                "part",
                "faces",
                "accuracy",
                "balanced",
                f"surest {COVERAGE:.0%}",
                "unmasked labelled mask",
                "incorrectly worn labelled mask",
            ),
            (part_row(name, part) for name, part in parts.items()),
        ),
        "## Face sizes",
        "Balanced accuracy and, in brackets, number of faces.",
        table(("part", *SIZES), (size_row(name, part) for name, part in parts.items())),
        f"## Kinds of face, at least {MIN_SLICE} each",
        KINDS,
        table(("trait", "band", "faces", "accuracy"), (slice_row(row) for row in large)),
        *covered(metrics.get("covered") or {}),
        *examples(metrics.get("examples") or {}),
        "## Pictures",
    ]


def covered(sets: Metrics) -> Iterable[str]:
    """Return the section on covered faces, of which only the masks are boxed."""
    if not sets:
        return
    yield "## Covered faces"
    yield (
        "People in protective clothing: hoods, goggles, shields, respirators. Only their masks are "
        "boxed; a face is found if a detection holds 70 % of its mask. All should be `mask`."
    )
    yield table(
        ("set", "masks", *ANSWERS),
        (
            (name, str(total := sum(row.values())), *(number(row[a] / total) for a in ANSWERS))
            for name, row in sets.items()
        ),
    )


def examples(folders: Metrics) -> Iterable[str]:
    """Return the section on pictures of which is known what a user expects."""
    if not folders:
        return
    yield "## Examples"
    yield "Pictures on which a user was once given a wrong answer, and what is expected of each."
    for name, rows in folders.items():
        yield f"### {name}: {sum(row['right'] for row in rows)} of {len(rows)} as expected"
        yield table(
            ("picture", "expected", "answer", "as expected"),
            (
                (row["picture"], row["expected"], row["answer"], "yes" if row["right"] else "no")
                for row in rows
            ),
        )


def summary(metrics: Metrics) -> Iterable[Sequence[str]]:
    """Return the rows (name, value) of the most important figures."""
    name, part = next(iter(metrics["parts"].items()))
    yield f"balanced accuracy, {name}", both(part, "balanced_accuracy")
    yield (
        f"incorrectly worn masks labelled `mask`, {name}",
        both(part, "called_mask", "incorrect_mask"),
    )
    yield f"unmasked faces labelled `mask`, {name}", both(part, "called_mask", "without_mask")
    for label in LABELS:
        yield f"average precision of `{label}`", both(metrics["average_precision"], label)
    found = metrics["calibration"] or {}
    surest = number(found.get("accuracy_at_coverage"))
    yield f"accuracy on the surest {COVERAGE:.0%} of the classified faces", surest
    yield "expected calibration error", number(found.get("expected_calibration_error"))
    yield "share of faces that get a label", number(found.get("coverage"))
    yield "accuracy of these labels", number(found.get("accuracy_of_labelled"))
    for way, drop in metrics["largest_drop"].items():
        if drop:
            where = f"{drop['trait']} {drop['band']}, {drop['faces']} faces"
            yield f"largest drop of a slice, {figures.TITLES[way]}", f"{drop['drop']:.4f} ({where})"


def part_row(name: str, part: Metrics) -> Sequence[str]:
    """Return the table row of a part's accuracies."""
    return (
        name,
        str(next(iter(part.values()))["faces"]),
        both(part, "accuracy"),
        both(part, "balanced_accuracy"),
        both(part, "accuracy_at_coverage"),
        both(part, "called_mask", "without_mask"),
        both(part, "called_mask", "incorrect_mask"),
    )


def size_row(name: str, part: Metrics) -> Sequence[str]:
    """Return the table row of a part's balanced accuracies by face size."""
    sizes = next(iter(part.values()))["sizes"]
    shown = {size: both(part, "sizes", size, "balanced_accuracy") for size in sizes}
    cells = [f"{shown[size]} ({sizes[size]['faces']})" if size in sizes else "" for size in SIZES]
    return (name, *cells)


def slice_row(row: Metrics) -> Sequence[str]:
    """Return the table row of a slice."""
    shown = " / ".join(number(row[way]) for way in figures.TITLES if way in row)
    return row["trait"], row["band"], str(row["faces"]), shown


def both(of: Metrics, *keys: str) -> str:
    """Return the figure under nested keys for each way of evaluation; - if there is none."""
    values = [under(found, keys) for found in of.values()]
    return "-" if all(value is None for value in values) else " / ".join(map(number, values))


def under(of: Any, keys: Sequence[str]) -> float | None:
    """Return the value under nested keys, or None."""
    for key in keys:
        of = None if of is None else of.get(key)
    return None if of is None else float(of)


def number(value: float | None) -> str:
    """Format a share with four decimal places."""
    return "-" if value is None else f"{value:.4f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with numbers aligned to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
