import threading

import pytest

from pipeline.console import Progress
from pipeline.errors import ConfigError
from pipeline.files import open_folder, write_atomically


def test_threads_that_write_one_file_do_not_meet(tmp_path):
    path, failures = tmp_path / "file.json", []

    def write(letter):
        for _ in range(60):
            try:
                write_atomically(path, letter * 5000)
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert path.read_bytes() in (b"a" * 5000, b"b" * 5000)
    assert list(tmp_path.iterdir()) == [path]


def test_a_store_that_cannot_be_is_one_message(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "below"):
        with pytest.raises(ConfigError, match="--store"):
            open_folder(path)
    assert open_folder(tmp_path / "a" / "b").is_dir()


def test_free_text_is_printed_as_it_is(capsys):
    Progress().line("failed in [/tmp/a] with [cuda] and [bold]", "red")
    assert "failed in [/tmp/a] with [cuda] and [bold]" in capsys.readouterr().out
