"""docs/errors.md stays true: each message of the source is on it, and nothing else is."""

import ast
import importlib
import re

import pytest

from pipeline import sweep
from tests.errors.conftest import REMEDY
from tests.errors.messages import FILLED, PAGE, ROOT, Entry, Message, Source, entries, messages

COMMANDS = ["pipeline.sweep", "pipeline.train", "pipeline.evaluate", "pipeline.recheck",
            "pipeline.doctor", "reports.build", "reports.export", "pipeline.__main__"]  # fmt: skip
WRONG = [
    "",
    "--nonsense",
    "--store",
    "--store http://x",
    "--sweep",
    "--device gpu",
    "--trials many",
    "--num-samples 1.5",
    "--store=--",
    "swep",
]
"""Arguments that argparse refuses, where a command has them."""


@pytest.fixture(scope="module")
def page() -> list[Entry]:
    return entries(PAGE.read_text())


@pytest.fixture(scope="module")
def of_argparse() -> list[Message]:
    """What argparse itself says of wrong arguments."""
    found = {}
    for name in COMMANDS:
        parser = importlib.import_module(name).parser()
        known = {option for action in parser._actions for option in action.option_strings}
        for text in WRONG:
            words = text.split()
            if words and words[0] != "--nonsense" and words[0].partition("=")[0] not in known:
                continue
            with pytest.raises(SystemExit) as left:
                _refuse(parser, words, found)
            assert left.value.code == 2
    return [Message("argparse", text) for text in found]


def _refuse(parser, words, found):
    """Note what the parser says, and leave as it would."""

    def error(text):
        found[text] = True
        raise SystemExit(2)

    parser.error = error
    parser.parse_args(words)
    raise SystemExit(2)  # nothing is required of it


def _nearest(message: Message, page: list[Entry]) -> Entry | None:
    """Of the entries that stand for a message, the one that says most of it."""
    return max(
        (entry for entry in page if entry.explains(message)),
        key=lambda entry: len(entry.fixed),
        default=None,
    )


def test_every_message_is_on_the_page(page, of_argparse):
    lacking = [m for m in [*messages(), *of_argparse] if _nearest(m, page) is None]
    assert not lacking, "docs/errors.md lacks:\n" + "\n".join(
        f"{message.place}: {message.text}" for message in lacking
    )


def test_nothing_on_the_page_is_out_of_date(page, of_argparse):
    used = {_nearest(message, page) for message in [*messages(), *of_argparse]}
    left = [entry for entry in page if entry not in used]
    assert not left, "no code says any more:\n" + "\n".join(
        f"docs/errors.md:{entry.line}: {entry.text}" for entry in left
    )


def test_every_entry_says_more_than_the_message(page):
    for entry in page:
        assert len(entry.remedy.split()) >= 4, entry
        assert "`<br>" not in entry.remedy, f"a message within the text: {entry}"
    shown = sum(line.strip().endswith("`<br>") for line in PAGE.read_text().splitlines())
    assert len(page) == shown, "an entry that is not read"


def test_a_message_that_nobody_explained_would_be_found(page):
    source = Source(ast.parse('def f(x):\n    raise ConfigError(f"{x}: the moon is wrong; wait")'))
    ((line, text),) = source.told({"ConfigError"})
    assert (line, text) == (2, f"{FILLED}: the moon is wrong; wait")
    assert _nearest(Message("here", text), page) is None
    assert _nearest(Message("here", "a control character; wipe it"), page) is None
    assert _nearest(Message("here", "a control character; remove it"), page)


def test_the_collector_follows_names_tables_and_functions():
    texts = [message.text for message in messages()]
    for text in (
        "strategies is missing: whose parameters are searched? add strategies: [LABEL]",  # literal
        "nda is for event data; write crop_flip",  # argument of a problem
        "a tab; YAML is indented with spaces, so replace the tab by spaces",  # row of a table
        "fab knows no clamp that destroys counts; leave it out of this stage",  # assigned before
        "unknown key; no key is expected here: remove it",  # what a function returns
    ):
        assert text in texts
    assert len(texts) > 250


TOLD_BY_OTHERS = (
    "models/digits.py",
    "models/exact",
    "pipeline/adapters/parquet_store.py",
    "pipeline/data/event",
    "pipeline/data/cifar10_dvs.py",
    "pipeline/data/nmnist.py",
    "pipeline/data/frame_file.py",
    "pipeline/experiment.py",
    "pipeline/judging.py",
    "pipeline/provenance.py",
    "pipeline/stale.py",
)
"""They say what is wrong; who tells it adds what to do, or does it."""


def test_every_message_says_what_to_do():
    silent = [
        f"{message.place}: {message.text}"
        for message in messages()
        if not message.place.startswith(TOLD_BY_OTHERS)
        and not REMEDY.search(message.text)
        # A hint at the end is filled in; the mistakes in files are held to it as printed.
        and not message.text.endswith(FILLED)
    ]
    assert not silent, "\n".join(silent)


def test_the_example_is_what_is_printed(tmp_path, monkeypatch, refusal):
    folder = tmp_path / "search_spaces"
    folder.mkdir()
    text = (ROOT / "search_spaces" / "lambda.yaml").read_text()
    changed = text.replace("epochs: 15", "epochs: many").replace("augmentation", "augmentatoin")
    (folder / "lambda.yaml").write_text(changed)
    monkeypatch.chdir(tmp_path)
    lines = refusal(sweep.main, "--space", "search_spaces/lambda.yaml", "--set", "seed=x")
    assert "\n".join(lines) in PAGE.read_text()


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\(([a-z_]+\.md)\)", PAGE.read_text()):
        assert (ROOT / "docs" / target).is_file(), target
