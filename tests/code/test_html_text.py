"""The text of a post's HTML: elements that begin a line part words, those within a line do not."""

import pytest

from components.fetch.mastodon.html_text import html_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"), ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<b>o</b>ne t<i>w</i>o", "one two"), ("wo<wbr>rd", "word"),
        ("<dl><dt>term</dt><dd>meaning</dd></dl>", "term\nmeaning"), ("one<hr>two", "one\n\ntwo"),
        ("<h2>title</h2>text", "title\n\ntext"),
        ("<table><thead><tr><th>a</th><th>b</th></tr></thead><tr><td>c</td><td>d</td></tr></table>end", "a b\nc d\n\nend"),
        ("<section>one</section><section>two</section>", "one\ntwo"), ("<article>one</article>two", "one\ntwo"),
        ("<header>one</header><main>two</main>", "one\ntwo"),
        ("<figure><figcaption>one</figcaption></figure>two", "one\n\ntwo"),
        ("<details><summary>one</summary>two</details>three", "one\ntwo\n\nthree"),
        ("<address>one</address>two", "one\ntwo"), ("<ol><li>one</li><li>two</li></ol>", "one\ntwo"),
        ("<center>one</center>two", "one\ntwo"),
        ("<td>a</td><td>b</td>", "a b"), ("<div>one</div>two<aside>three</aside>", "one\ntwo\nthree"),
        ("<nav>one</nav><footer>two</footer>", "one\ntwo"),
    ],
)  # fmt: skip
def test_words_stay_apart(html, text):
    assert html_text(html)[0] == text
