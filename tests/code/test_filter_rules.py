"""The default rules: what each does to posts as people write them, its switch, and how rules are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.filter.near_duplicates import NearDuplicateIndex, jaccard, word_pairs
from components.filter.rule_selection import OFF, ON, parse_rules
from components.filter.rules import DefaultRules, Dropped, KeptPost, rule_for
from mynah.core.errors import InputError
from mynah.data.posts import Entity, Kind
from tests.code.filter_inputs import post

# A rule, a post, and what comes of it with the rule and without. Reasons in capitals: dropped.
CASES = [
    ("mojibake", "the cafÃ© isnâ€™t open on Sundays", "the café isn\u2019t open on Sundays", "the cafÃ© isnâ€™t open on Sundays"),
    ("mojibake", "he said \x93so it goes\x94 and left", "he said “so it goes” and left", "he said so it goes and left"),
    ("entities", "caf&eacute; &amp;amp; bar &quot;at last&quot;", 'café & bar "at last"', "caf&eacute; &amp;amp; bar &quot;at last&quot;"),
    ("urls", "so good https://t.co/a1 and pic.twitter.com/b2 too", "so good and too", "so good https://t.co/a1 and pic.twitter.com/b2 too"),
    ("mentions", "@bob @ann_b I quite agree with @cat", "I quite agree with @cat", "@bob @ann_b I quite agree with @cat"),
    ("mentions", "@ann@mas.to, @bob.bsky.social: that is so true", "that is so true", "@ann@mas.to, @bob.bsky.social: that is so true"),
    ("urls", "so good to see you allpic.twitter.com/b2", "so good to see you all", "so good to see you allpic.twitter.com/b2"),
    ("urls", "the fix (https://t.co/a1), at last (see https://t.co/b2)", "the fix, at last (see)",
     "the fix (https://t.co/a1), at last (see https://t.co/b2)"),
    ("urls", "詳細はこちらhttps://t.co/a1です。 よろしくお願いします", "詳細はこちら です。 よろしくお願いします",
     "詳細はこちらhttps://t.co/a1です。 よろしくお願いします"),
    ("urls", "read en.wikipedia.org or https://en.wikipedia.org/wiki/R_(language)", "read en.wikipedia.org or",
     "read en.wikipedia.org or https://en.wikipedia.org/wiki/R_(language)"),
    ("mentions", "\u2066@bob_b\u2069 אני מסכים איתך לגמרי", "אני מסכים איתך לגמרי", "\u2066@bob_b\u2069 אני מסכים איתך לגמרי"),
    ("controls", "bell\x07 and null\x00 go from here", "bell and null go from here", "bell\x07 and null\x00 go from here"),
    ("end-token", "the end <|endoftext|> is not the end", "the end is not the end", "the end <|endoftext|> is not the end"),
    ("personal", "write to ann.lee@example.org or +1 415-555-2671 please", "write to [mail] or [phone] please",
     "write to ann.lee@example.org or +1 415-555-2671 please"),
    ("personal", "send it to DE89 3704 0044 0532 0130 00 by Monday", "send it to [account] by Monday",
     "send it to DE89 3704 0044 0532 0130 00 by Monday"),
    ("personal", "my card 4111 1111 1111 1111 was declined again", "my card [card] was declined again",
     "my card 4111 1111 1111 1111 was declined again"),
    ("short", "Ay, sir", "SHORT", "Ay, sir"),
    ("short", "@ann @bob #fine yes no", "SHORT", "#fine yes no"),
    ("short", "ann.lee@example.org says hello", "SHORT", "[mail] says hello"),
    ("short", "(ann.lee@example.org), says hello", "SHORT", "([mail]), says hello"),
    ("short", "おはよう", "SHORT", "おはよう"),
    ("manual-quotes", "“@bob: the sun is out at last” so true", "MANUAL-QUOTE", "“@bob: the sun is out at last” so true"),
    ("manual-quotes", "&quot;@bob the sun is out&quot; and about time", "MANUAL-QUOTE", '"@bob the sun is out" and about time'),
    ("manual-quotes", "So true! RT @bob: the sun is out at last", "MANUAL-QUOTE", "So true! RT @bob: the sun is out at last"),
    ("manual-quotes", "RT: @bob the sun is out at last", "MANUAL-QUOTE", "RT: @bob the sun is out at last"),
    ("manual-quotes", "MT @bob sun is out at last", "MANUAL-QUOTE", "MT @bob sun is out at last"),
    ("automated", "Today stats: 3 followers, No unfollowers via http://t.co/x", "AUTOMATED", "Today stats: 3 followers, No unfollowers via"),
]  # fmt: skip
STAY = [
    "RT if you agree with me on this", "ART @bob painted is so good", 'she said "hello @bob" and left', "I'm at my wits' end with this code",
    "via @bob: how to bake bread", "My top tip for artists is to sleep", "Just posted the last chapter of my book!",
    "the daily grind is out of hand", "score was 21-14 in 2019, 10 years on", "this&that; R&D at AT&T is fun", "“Curly” quotes and ﬁne ligatures",
    "naïve façade, déjà vu, Ångström", "[mail] is what it says", "Running 5 km with my dog tomorrow", "♫ la la la in the shower again",
    "今日はとても寒いですね、早く帰りたい", "วันนี้อากาศหนาวมาก", "@annおはよう。 今日も寒いね", "I'm in Bozeman, MT @bob if you are too",
    "salt&notes; and black&amplifier; are no entities", "👨‍👩‍👧‍👦 family day at the 🏴󠁧󠁢󠁥󠁮󠁧󠁿 game ❤️‍🔥", "סוף סוף הגענו הביתה #שבת @bob",
    ".@bob is wrong about the weather", "@bob's dog is the best dog", "I liked a video game once",
]  # fmt: skip


def outcome(judged):
    return judged.reason.upper() if isinstance(judged, Dropped) else judged.text


@pytest.mark.parametrize(("rule", "text", "with_it", "without"), CASES)
def test_a_rule_and_its_switch(rule, text, with_it, without):
    assert outcome(rule_for("default")(post(text))) == with_it
    assert outcome(rule_for(f"default,-{rule}")(post(text))) == without


def test_reposts_and_their_switch():
    flagged = post("what he said was long enough", Kind.REPOST)
    assert rule_for("default")(flagged) == Dropped("retweet")
    assert rule_for("default,-retweets")(flagged) == KeptPost("what he said was long enough")
    assert rule_for("default,-retweets,-manual-quotes")(post("RT @bob: what he said")) == KeptPost("RT @bob: what he said")


@pytest.mark.parametrize("text", STAY)
def test_what_people_write_stays_as_it_is(text):
    assert DefaultRules()(post(text)) == KeptPost(text)


def test_rules_tell_what_they_changed():
    kept = DefaultRules()(post("@bob &lt;3 the caf&eacute; so much https://t.co/x"))
    assert kept.mended == {"mentions", "entities", "urls"}


def test_what_the_platform_marks_is_cut_before_anything_is_unescaped():
    text = "@bob R&amp;D at example.com/a?b=1 &lt;3 pic.x too, you know"
    marked = (("@bob", "mention"), ("example.com/a?b=1", "url"), ("pic.x", "media"))
    entities = tuple(Entity(text.index(part), text.index(part) + len(part), kind) for part, kind in marked)
    assert DefaultRules()(post(text, entities=entities)) == KeptPost("R&D at <3 too, you know")
    kept = rule_for("default,-urls,-mentions")(post(text, entities=entities))
    assert kept == KeptPost("@bob R&D at example.com/a?b=1 <3 pic.x too, you know")


def test_entities_that_do_not_fit_do_no_harm():
    entities = (Entity(0, 2, "mention"), Entity(5, 90, "url"), Entity(8, 4, "url"), Entity(-3, 2, "media"))
    assert DefaultRules()(post("one two three four", entities=entities)) == KeptPost("one two three four")
    assert DefaultRules()(post("@bob two three four", entities=(Entity(0, 99, "mention"),))) == KeptPost("two three four")


def test_marks_of_names_are_followed_no_further_than_the_name():
    def judged(text, *marked):
        spans = [(text.index(part), part) for part in marked]
        return outcome(DefaultRules()(post(text, entities=tuple(Entity(at, at + len(part), "mention") for at, part in spans))))

    assert judged("@bob's dog is the best dog", "@bob") == "@bob's dog is the best dog"
    assert judged("@bob: @cat, so it really is", "@bob", "@cat") == "so it really is"
    assert judged("\u2066@bob\u2069 \u2066@cat\u2069 כן כן כן", "@bob", "@cat") == "כן כן כן"
    assert judged("@bob そうですね、寒いです", "@bob") == "そうですね、寒いです"
    assert judged("one two three four", "one two three four") == "one two three four"


def test_a_marked_link_leaves_no_blank_before_a_comma_and_no_empty_parentheses():
    text = "read example.com/a, then (example.com/b) and (see example.com/c)."
    spans = [(text.index(part), text.index(part) + len(part)) for part in ("example.com/a", "example.com/b", "example.com/c")]
    assert DefaultRules()(post(text, entities=tuple(Entity(*span, "url") for span in spans))) == KeptPost("read, then and (see).")


def test_duplicates_and_near_duplicates_have_switches():
    first, again = "The train is late again, as it was all week", "THE TRAIN is late again, as it was all week"
    nearly = "The train is late again as it was all week!!!"
    changed = "Oh no. The train is late again, as it was all week"
    other = "The train is late again, so I walk to work today"
    posts = [post(text, number=number) for number, text in enumerate((first, again, nearly, changed, other))]
    judge = DefaultRules()
    assert [judge(each) for each in posts] == [
        KeptPost(first), Dropped("duplicate"), Dropped("near-duplicate", "0"), Dropped("near-duplicate", "0"), KeptPost(other)
    ]  # fmt: skip
    judge = rule_for("default,-near-duplicates")
    assert [outcome(judge(each)) for each in posts] == [first, "DUPLICATE", nearly, changed, other]
    judge = rule_for("default,-near-duplicates,-duplicates")
    assert [outcome(judge(each)) for each in posts] == [first, again, nearly, changed, other]


def test_near_duplicates_in_scripts_without_blanks_and_of_signs_alone():
    alike = NearDuplicateIndex()
    assert alike.add("今日はとても寒いですね、早く帰りたい") == []
    assert alike.add("今日はとても寒いですね。早く帰りたいよ") == [0]
    assert alike.add("明日は暖かくなるそうなので楽しみ") == []
    assert alike.add("मेरा दिन अच्छा था") == []
    assert alike.add("मेरी दान अच्छी थी") == []  # other words, of the same consonants
    assert alike.add("❤ ❤ ❤") == []
    assert alike.add("❤ 💙 💙") == []
    assert alike.add("Happy 2nd birthday to my little one") == []
    assert alike.add("Happy 3rd birthday to my big one") == []


@given(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=12, max_size=40), st.integers(0, 39))
def test_a_post_with_one_word_changed_is_found(words, place):
    words = [f"{word}{number}" for number, word in enumerate(words)]
    changed = [*words[: place % len(words)], "other", *words[place % len(words) + 1 :]]
    alike = NearDuplicateIndex()
    alike.add(" ".join(words))
    if jaccard(word_pairs(" ".join(words)), word_pairs(" ".join(changed))) >= 0.8:
        assert alike.add(" ".join(changed)) == [0]


def test_the_grammar_of_rules():
    assert parse_rules("default").on == set(ON)
    assert parse_rules("default, -short ,+language").on == set(ON) - {"short"} | {"language"}
    assert parse_rules("default,-short,+short").on == set(ON)
    assert parse_rules("huggingtweets,+by-time").on == {"by-time"}
    assert parse_rules("huggingtweets").on == set()
    assert set(OFF) == {"language", "threads", "by-time"}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("classic", "unknown rules 'classic'\nUse --rules huggingtweets or default"),
        ("", "unknown rules ''"),
        ("default,-near-dups", "Did you mean -near-duplicates?"),
        ("default,language", r"no switch 'language'.*\n.*\+language\?"),
        ("default,+", "no switch"),
        ("default,", "no switch ''"),
        ("default,-Short", "Did you mean -short?"),
        ("huggingtweets,-short", "without short\nUse --rules default,-short"),
        ("huggingtweets,+by-tme", "Did you mean .by-time"),
    ],
)
def test_a_name_that_there_is_not(rules, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?") if "\\" not in said else said):
        parse_rules(rules)
