"""Predict in which locations the proteins of your own images are, with a finished run.

Reads   a folder with the four channels of each image, {id}_red.png, {id}_green.png, {id}_blue.png and
        {id}_yellow.png (or TIFF, JPEG), and outputs/<run>/
Writes  outputs/<run>/own_images/<name>/: locations.csv, probabilities.csv, report.html; a second folder
        of the same name gets <name>_2
Run     python predict.py my_cells --run demo
"""

from pathlib import Path

from lib import cli
from lib.errors import UserError


def main(argv: list[str] | None = None) -> str:
    parser = cli.parser(__doc__)
    parser.add_argument("images", type=Path, metavar="FOLDER", help="folder with the images")
    parser.add_argument(
        "--predictor", help="predictor of the run; default: the best by macro-F1 on validation"
    )
    run = cli.start(parser, argv)
    if not (run.folder / "run.json").exists():
        known = ", ".join(sorted(path.parent.name for path in run.folder.parent.glob("*/run.json")))
        raise UserError(
            f"{run.folder}: no such run; "
            + (f"choose one with --run: {known}" if known else "train one first, with `bash run_all.sh`")
        )
    from lib.evaluation import predictor_scores
    from lib.report import own_images_page

    with run.lock():
        predictor = predictor_scores.select_predictor(run.folder, run.options.predictor)
        page = own_images_page.classify(run, run.options.images, predictor)
    return f"report: {page} (open it in a browser)"


if __name__ == "__main__":
    cli.run(main)
