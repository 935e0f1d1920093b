"""The default rules: what each does to posts as people write them, its switch, and what holds for any text."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import InputError
from components.filter.automated import is_automated, table
from components.filter.choice import OFF, ON, parse_rules
from components.filter.clean import STEPS, clean
from components.filter.language import detected, language_of, main_languages
from components.filter.near import Alike, likeness, pairs_of_words
from components.filter.rules import DefaultRules, Dropped, Kept, judge_for
from components.posts import Entity, Kind, Post
from tests.code.filter_inputs import ANY_TEXT, post

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


# What people write that looks like the set words of programs.
PEOPLE = [
    "My new book is out! https://t.co/x", "Our paper is out! https://t.co/x Thanks to @bob for the data", "The sun is out! https://t.co/x",
    "I'm at the beach w/ my mom https://t.co/x", "I'm at the airport (finally) https://t.co/x", "I'm at the office, so https://t.co/x",
    "I just watched S01E02 of Fargo and wow", "My top 5 artists of all time are women", "Today's stats: 3 coffees, 2 tantrums, 0 naps",
    "One person unfollowed me today, was it the cat pics?", "A follower asked why people unfollow me", "I uploaded a YouTube video today, go watch",
    "just posted a photo of my dog on my blog https://t.co/x", "live on twitch in 10 min, come hang out", "Live on Facebook tonight: my cat",
    "🎵 I can't believe they put this album on Spotify", "Now playing with my kids on Shazam", "My Twitter stats are sad",
    "I earned the Girl Scout badge for cooking in 1985", "I posted a video on Facebook of my cat", "Congrats! Thanks to @bob it worked",
]  # fmt: skip
PROGRAMS = [
    "I'm at Whole Foods Market (Austin, TX) w/ 3 others http://t.co/x", "I'm at The Depot w/ @bob http://4sq.com/x",
    "I'm at Joe's Pub in New York, NY https://t.co/x", "The Data Daily is out! http://paper.li/x ▸ Top stories today via @a @b",
    "♫ Pyramid Song \u2013 Radiohead http://t.co/x on @Spotify", "I liked a @YouTube video from @bob http://youtu.be/x?a Cats",
    "I added a video to a @YouTube playlist http://youtu.be/x?a Cats", "I uploaded a YouTube video -- Cats http://youtu.be/x",
    "One person followed me // automatically checked by http://t.co/x", "Just posted a photo https://t.co/x",
    "I'm live on Twitch - Watch me at https://t.co/x",
]  # fmt: skip


def outcome(judged):
    return judged.reason.upper() if isinstance(judged, Dropped) else judged.text


@pytest.mark.parametrize(("rule", "text", "with_it", "without"), CASES)
def test_a_rule_and_its_switch(rule, text, with_it, without):
    assert outcome(judge_for("default")(post(text))) == with_it
    assert outcome(judge_for(f"default,-{rule}")(post(text))) == without


def test_reposts_and_their_switch():
    flagged = post("what he said was long enough", Kind.REPOST)
    assert judge_for("default")(flagged) == Dropped("retweet")
    assert judge_for("default,-retweets")(flagged) == Kept("what he said was long enough")
    assert judge_for("default,-retweets,-manual-quotes")(post("RT @bob: what he said")) == Kept("RT @bob: what he said")


@pytest.mark.parametrize("text", STAY)
def test_what_people_write_stays_as_it_is(text):
    assert DefaultRules()(post(text)) == Kept(text)


def test_rules_tell_what_they_changed():
    kept = DefaultRules()(post("@bob &lt;3 the caf&eacute; so much https://t.co/x"))
    assert kept.mended == {"mentions", "entities", "urls"}


def test_what_the_platform_marks_is_cut_before_anything_is_unescaped():
    text = "@bob R&amp;D at example.com/a?b=1 &lt;3 pic.x too, you know"
    marked = (("@bob", "mention"), ("example.com/a?b=1", "url"), ("pic.x", "media"))
    entities = tuple(Entity(text.index(part), text.index(part) + len(part), kind) for part, kind in marked)
    assert DefaultRules()(post(text, entities=entities)) == Kept("R&D at <3 too, you know")
    kept = judge_for("default,-urls,-mentions")(post(text, entities=entities))
    assert kept == Kept("@bob R&D at example.com/a?b=1 <3 pic.x too, you know")


def test_entities_that_do_not_fit_do_no_harm():
    entities = (Entity(0, 2, "mention"), Entity(5, 90, "url"), Entity(8, 4, "url"), Entity(-3, 2, "media"))
    assert DefaultRules()(post("one two three four", entities=entities)) == Kept("one two three four")
    assert DefaultRules()(post("@bob two three four", entities=(Entity(0, 99, "mention"),))) == Kept("two three four")


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
    assert DefaultRules()(post(text, entities=tuple(Entity(*span, "url") for span in spans))) == Kept("read, then and (see).")


@pytest.mark.parametrize("text", PEOPLE)
def test_what_people_write_is_no_set_words(text):
    assert isinstance(DefaultRules()(post(text)), Kept)


@pytest.mark.parametrize("text", PROGRAMS)
def test_set_words_as_programs_vary_them(text):
    assert DefaultRules()(post(text)) == Dropped("automated")
    assert isinstance(judge_for("default,-automated")(post(text)), Kept)


@pytest.mark.parametrize("row", table()["texts"], ids=lambda row: row["name"])
def test_set_words_of_programs(row):
    assert is_automated(post(row["example"])), row
    assert row["name"]


@pytest.mark.parametrize(
    ("client", "automated"),
    [
        ("IFTTT", True),
        ("dlvr.it", True),
        ("ifttt", True),
        ("Buffer", False),
        ("TweetDeck", False),
        ("Twitter for iPhone", False),
        ("", False),
    ],
)
def test_programs_and_schedulers(client, automated):
    judged = DefaultRules()(post("Ten ways to bake a better loaf of bread", client=client))
    assert judged == (Dropped("automated") if automated else Kept("Ten ways to bake a better loaf of bread"))
    assert isinstance(judge_for("default,-automated")(post("Ten ways to bake bread", client=client)), Kept)


def test_every_client_in_the_table_has_a_reason():
    names = [row["name"].casefold() for row in table()["clients"]]
    assert len(set(names)) == len(names)
    assert all(row["why"] and isinstance(row["automated"], bool) for row in table()["clients"])


def test_duplicates_and_near_duplicates_have_switches():
    first, again = "The train is late again, as it was all week", "THE TRAIN is late again, as it was all week"
    nearly = "The train is late again as it was all week!!!"
    changed = "Oh no. The train is late again, as it was all week"
    other = "The train is late again, so I walk to work today"
    posts = [post(text, number=number) for number, text in enumerate((first, again, nearly, changed, other))]
    judge = DefaultRules()
    assert [judge(each) for each in posts] == [
        Kept(first), Dropped("duplicate"), Dropped("near-duplicate", "0"), Dropped("near-duplicate", "0"), Kept(other)
    ]  # fmt: skip
    judge = judge_for("default,-near-duplicates")
    assert [outcome(judge(each)) for each in posts] == [first, "DUPLICATE", nearly, changed, other]
    judge = judge_for("default,-near-duplicates,-duplicates")
    assert [outcome(judge(each)) for each in posts] == [first, again, nearly, changed, other]


def test_near_duplicates_in_scripts_without_blanks_and_of_signs_alone():
    alike = Alike()
    assert alike.place("今日はとても寒いですね、早く帰りたい") == []
    assert alike.place("今日はとても寒いですね。早く帰りたいよ") == [0]
    assert alike.place("明日は暖かくなるそうなので楽しみ") == []
    assert alike.place("मेरा दिन अच्छा था") == []
    assert alike.place("मेरी दान अच्छी थी") == []  # other words, of the same consonants
    assert alike.place("❤ ❤ ❤") == []
    assert alike.place("❤ 💙 💙") == []
    assert alike.place("Happy 2nd birthday to my little one") == []
    assert alike.place("Happy 3rd birthday to my big one") == []


@given(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=12, max_size=40), st.integers(0, 39))
def test_a_post_with_one_word_changed_is_found(words, place):
    words = [f"{word}{number}" for number, word in enumerate(words)]
    changed = [*words[: place % len(words)], "other", *words[place % len(words) + 1 :]]
    alike = Alike()
    alike.place(" ".join(words))
    if likeness(pairs_of_words(" ".join(words)), pairs_of_words(" ".join(changed))) >= 0.8:
        assert alike.place(" ".join(changed)) == [0]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Heute war wirklich ein langer Tag im Büro", "de"), ("I do not think that this will end well for us", "en"),
        ("Quelqu'un connaît un bon resto près de Lyon ?", "fr"), ("Alguien sabe dónde puedo comprar pan por aquí", "es"),
        ("今日はとても寒いですね、早く帰りたい", "ja"), ("Сегодня очень холодно на улице", "ru"),
        ("आज बहुत ठंड है, जल्दी घर जाना चाहता हूँ", "hi"), ("আজ খুব ঠান্ডা লাগছে বাড়ি যেতে চাই", "bn"),
        ("Thank you so much!", ""), ("😀😀😀 #winning @bob https://t.co/x", ""), ("", ""), ("\ud83d" * 30, ""), ("lol\n" * 3, ""),
    ],
)  # fmt: skip
def test_the_detector(text, language):
    assert detected(text) == language


@pytest.mark.parametrize(
    ("said", "language"), [("en", "en"), ("pt-BR", "pt"), ("zh_Hant", "zh"), ("iw", "he"), ("in", "id"), ("EN", "en")]
)
def test_the_platform_knows_the_language_best(said, language):
    assert language_of(post("Heute war wirklich ein langer Tag im Büro", language=said)) == language


@pytest.mark.parametrize("said", ["und", "qme", "zxx", ""])
def test_where_the_platform_does_not_know_the_text_tells(said):
    assert language_of(post("Heute war wirklich ein langer Tag im Büro", language=said)) == "de"


def test_other_languages_stay_unless_told():
    german, english = "Heute war wirklich ein langer Tag im Büro", "It was a very long day at the office"
    posts = [
        post(english, number=1),
        post(english, Kind.REPOST),
        post(german),
        post("It rained and rained all day", language="en"),
    ]
    main = main_languages(iter(posts))
    assert main == {"ann": "en"}
    assert judge_for("default", main)(post(german)) == Kept(german)
    judge = judge_for("default,+language", main)
    assert judge(post(german)) == Dropped("language")
    assert judge(post("Thank you so much!")) == Kept("Thank you so much!")
    assert judge(post(english)) == Kept(english)
    assert judge(post(german, author="bob")) == Kept(german)


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
        ("classic", "no rules 'classic'\nUse --rules huggingtweets or default"),
        ("", "no rules ''"),
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


@given(ANY_TEXT)
@settings(max_examples=300)
def test_cleaning_any_text_is_done_once_and_makes_nothing_longer(text):
    cleaned, _ = clean(text, set(ON))
    assert len(cleaned) <= len(text)
    assert clean(cleaned, set(ON)) == (cleaned, set())
    assert cleaned == " ".join(cleaned.split())
    assert "<|endoftext|>" not in cleaned
    assert not re.search(r"https?:\S", cleaned, re.IGNORECASE)
    cleaned.encode()  # no half of a surrogate pair, which no file can hold


@pytest.mark.parametrize("rule", [name for name, _ in STEPS])
@given(text=ANY_TEXT)
@settings(max_examples=40)
def test_each_rule_alone_is_done_once_and_makes_nothing_longer(rule, text):
    cleaned, _ = clean(text, {rule})
    assert len(cleaned) <= len(text)
    assert clean(cleaned, {rule}) == (cleaned, set())


@given(
    ANY_TEXT,
    st.lists(st.tuples(st.integers(-2, 40), st.integers(-2, 40), st.sampled_from(["url", "mention", "media", "hashtag"]))),
)
def test_any_post_is_judged(text, spans):
    posts = Post("1", "ann", text, entities=tuple(Entity(*span) for span in spans))
    for rules in ("default", "default,-short,-controls,+language"):
        judged = judge_for(rules, {"ann": "en"})(posts)
        assert isinstance(judged, Dropped) or judged.text
        assert isinstance(judged, Dropped) or len(judged.text) <= len(text)


@pytest.mark.parametrize(
    "text",
    ["&amp;" * 100_000 + "lt;", "&" * 200_000, "@a" * 100_000, "RT " * 100_000 + "@", "&&#97;mp;" * 30_000, "I'm at " + "w/ " * 60_000,
     "I ousted " + " as the mayor of " * 20_000, "98.202.88.97 " * 30_000, "http:)" * 50_000, "http:(" * 50_000, "( " * 100_000,
     " " * 200_000 + "http", "\u2066@" * 100_000],
)  # fmt: skip
@pytest.mark.timeout(20)  # what takes the square of a text's length would take minutes
def test_crafted_texts_take_no_time_to_speak_of(text):
    cleaned, _ = clean(text, set(ON))
    assert clean(cleaned, set(ON))[0] == cleaned
    DefaultRules()(post(text))
