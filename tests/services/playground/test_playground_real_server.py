"""The playground in a real Chromium, with a real server and a real model."""

import contextlib
import re
import shutil
import subprocess
import threading

from playground_server import Completions, ask, done, open_tab, png

from tests.fork_client import RUN_CODE


@contextlib.contextmanager
def really_serving(folders, *options):
    """`mynah serve`'s own server in a process of its own, on a free port; yields its URL."""
    code = (
        "from pathlib import Path\nfrom serving.server import serve\nfrom serving.config import Settings\n"
        "from serving.models.sources import FolderSource, ServedBot\n"
        f"bots = [ServedBot(name, '3', Path(folder)) for name, folder in {folders!r}]\n"
        f"serve(FolderSource(bots), Settings(port=0, {', '.join(options)}))"
    )
    process = subprocess.Popen([*RUN_CODE, code], stderr=subprocess.PIPE, text=True)
    ready, lines = threading.Event(), []

    def read():
        for line in process.stderr:
            lines.append(line)
            if line.startswith("Serving "):
                ready.set()
        ready.set()  # it ended without serving: the assertion shows why

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert ready.wait(60)
        address = re.search(r"http://127\.0\.0\.1:\d+", "".join(lines))
        assert address, "".join(lines)
        yield address.group()
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()


def test_a_real_bot_behind_a_real_key_from_the_link_to_the_answers(chromium, tiny_checkpoint, tmp_path, mynah):
    from playwright.sync_api import expect

    folder, keys = tmp_path / "bot", tmp_path / "keys.json"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "README.md").write_text("# wren\n\nA bot that writes like Wren.\n")
    (folder / "predictions.png").write_bytes(png())
    key = mynah("keys", "add", "--file", keys, "--tenant", "ann", "--bot", "wren").stdout.split()[-1]
    bots = [("wren", str(folder)), ("heron", str(tiny_checkpoint))]
    with really_serving(bots, f"keys_file=Path({str(keys)!r})") as url, open_tab(chromium, (url, Completions())) as page:
        page.goto("/#bot=wren&n=3&max_tokens=12&seed=7")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        expect(page.locator("#card")).to_contain_text("A bot that writes like Wren.")
        expect(page.get_by_role("img", name="A sample of what wren writes")).to_be_visible()
        page.get_by_role("combobox").click()
        expect(page.get_by_role("option")).to_have_text(["wren version 3"])  # heron is not this key's
        page.keyboard.press("Escape")
        ask(page)
        done(page, 3)
        expect(page.locator("#answers h3")).to_have_text("wren version 3")
        first = page.locator("#answers li p").all_text_contents()
        assert len(set(first)) == 3
        assert all(text.startswith("My dream is") and text != "My dream is" for text in first)
        page.reload()
        expect(page.locator("#card")).to_contain_text("A bot that writes like Wren.")
        ask(page)
        done(page, 3)
        assert page.locator("#answers li p").all_text_contents() == first  # the same seed, the same text
        ask(page, "word " * 400)
        expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("tokens")
        assert page.wrong == []
