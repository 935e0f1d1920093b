"""Posts of programs are told from those of people, by their set words and their clients."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.filter.bot_posts import is_automated, table
from components.filter.rules import DefaultRules, Dropped, KeptPost, rule_for
from tests.code.filter_inputs import post

# What people write that looks like the set words of programs.
PEOPLE = [
    "My new book is out! https://t.co/x", "Our paper is out! https://t.co/x Thanks to @bob for the data", "The sun is out! https://t.co/x",
    "I'm at the beach w/ my mom https://t.co/x", "I'm at the airport (finally) https://t.co/x", "I'm at the office, so https://t.co/x",
    "I just watched S01E02 of Fargo and wow", "My top 5 artists of all time are women", "Today's stats: 3 coffees, 2 tantrums, 0 naps",
    "One person unfollowed me today, was it the cat pics?", "A follower asked why people unfollow me", "I uploaded a YouTube video today, go watch",
    "just posted a photo of my dog on my blog https://t.co/x", "live on twitch in 10 min, come hang out", "Live on Facebook tonight: my cat",
    "🎵 I can't believe they put this album on Spotify", "Now playing with my kids on Shazam", "My Twitter stats are sad",
    "Wordle 5 times a day is too much", "I love Wordle, 3/6 on average", "Waffle number 3 is coming up", "Today's Wordle took me 5 tries",
    "Episode 12 of our podcast is out https://t.co/x", "I just ran my first 10k in ages, so proud", "Follow me on Strava, please https://t.co/x",
    "Check out my friend's new album on Spotify https://t.co/x", "I'm on a 10 day streak of bad luck", "I voted today, and so should you",
    "Sign the petition if you live here https://t.co/x", "I just bought: nothing, again", "🟩 is my favourite square", "Drinking a beer by the lake",
    "I hate Strava for making me ride more", "Strava says I ran 5 km today but it was 6", "I ran 5 km with Nike Run Club and it hurt https://t.co/x",
    "I ran 5 km with @mapmyrun and my dad, see https://t.co/x how he cried", "Spotify keeps playing the same 3 songs by Abba",
    "Listen to your kids, says a book by Ann https://t.co/x", "Have you heard of SoundCloud by the way? https://t.co/x",
    "Voted today, took 3 hours in line, straw poll says we lose", "IFTTT broke again, so no cat pictures today", "Paper.li is spam and I block it",
    "My paper was automatically checked by a robot, and I failed", "3 people followed me home in the last week, creepy https://t.co/x",
    "Framed 3 pictures for the living room today", "Strands of my hair are falling out, 3 today", "Connections in science matter more than anything",
    "Heardle 12 was easy, everybody knows that song", "I got 3/6 in Globle and I feel bad", "Team blue won 3/4 games: 🟢🟢🟢🔴 so happy",
    "Estoy en casa con fiebre https://t.co/x", "Ich bin in Berlin und friere https://t.co/x", "I used Shazam to discover my own taste",
    "I earned the Girl Scout badge for cooking in 1985", "I posted a video on Facebook of my cat", "Congrats! Thanks to @bob it worked",
]  # fmt: skip
PROGRAMS = [
    "I'm at Whole Foods Market (Austin, TX) w/ 3 others http://t.co/x", "I'm at The Depot w/ @bob http://4sq.com/x",
    "I'm at Joe's Pub in New York, NY https://t.co/x", "The Data Daily is out! http://paper.li/x ▸ Top stories today via @a @b",
    "♫ Pyramid Song \u2013 Radiohead http://t.co/x on @Spotify", "I liked a @YouTube video from @bob http://youtu.be/x?a Cats",
    "I added a video to a @YouTube playlist http://youtu.be/x?a Cats", "I uploaded a YouTube video -- Cats http://youtu.be/x",
    "One person followed me // automatically checked by http://t.co/x", "Just posted a photo https://t.co/x",
    "Wordle 234 X/6 ⬛⬛", "Worldle #100 1/6 (100%)", "Daily Quordle 123 4️⃣5️⃣ 6️⃣7️⃣", "My #Heardle #10 today was 🔊🟩⬜️⬜️", "Strands #12 “Go” 🔵🔵🟡🔵",
    "I solved Semantle #12 in 20 guesses!", "I played contexto.me #12 and got it in 34 guesses.", "Connections Puzzle #12 🟨🟨🟨🟨 🟩🟩🟩🟩",
    "Framed #12 🎥 🟥 🟩 ⬛ ⬛ ⬛ ⬛", "I just finished a 30 min Pop Ride on @onepeloton https://t.co/x", "🎧 Pyramid Song \u2013 Radiohead on #TIDAL https://t.co/x",
    "I\u2019m at Joe\u2019s Pub in New York, NY https://t.co/x",
    "#Globle Jan 5, 2024 🌎 🟥🟧🟥🟩 = 4 🔥 3", "Le Mot (@WordleFR) #123 3/6 🟩🟩", "joguei term.ooo #345 3/6 * ⬛🟨🟩", "Wordle DE 123 3/6",
    "Слово дня #45 3/6", "Cloudle - San Francisco: 4/6 🟢🟡", "#travle #345 +0 (Perfect) ✅✅✅✅", "Redactle #345: 55 guesses 60% accuracy",
    "Contexto: I played contexto.me #345 and got it in 45 guesses.", "I ran 3.12 mi with @mapmyrun! https://t.co/x #running",
    "Was out running 5.12 km with #Endomondo. See it here: http://t.co/x", "I did a 30 min cycling on Garmin Connect. https://t.co/x",
    "Listen to Song by Artist on #SoundCloud https://t.co/x", "I just listened to Song by Artist on Last.fm https://t.co/x",
    "♬ My Top 3 Artists: A (12) B (5) via Last.FM", "4 tweeps unfollowed me (goodbye!) in the past day. Thank you https://t.co/x",
    "I voted in this poll https://poll.fm/x", "I voted in a poll via @twtpoll http://t.co/x",
    "I'm live on Twitch - Watch me at https://t.co/x",
]  # fmt: skip


@pytest.mark.parametrize("text", PEOPLE)
def test_what_people_write_is_no_set_words(text):
    assert isinstance(DefaultRules()(post(text)), KeptPost)


@pytest.mark.parametrize("text", PROGRAMS)
def test_set_words_as_programs_vary_them(text):
    assert DefaultRules()(post(text)) == Dropped("automated")
    assert isinstance(rule_for("default,-automated")(post(text)), KeptPost)


@given(st.lists(st.sampled_from(["Wordle 12 ", "3/6", "= 4", "#1 ", ": 4/6 ", " \n", "x", "⬛", "🟩", "I'm at "])).map("".join))
def test_ascii_texts_match_no_pattern_of_emoji(text):
    plain = text.encode("ascii", "ignore").decode()
    rows = [row for row in table()["texts"] if row.get("emoji")]
    assert rows
    assert not any(re.match(row["pattern"], plain, re.IGNORECASE) for row in rows)


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
    assert judged == (Dropped("automated") if automated else KeptPost("Ten ways to bake a better loaf of bread"))
    assert isinstance(rule_for("default,-automated")(post("Ten ways to bake bread", client=client)), KeptPost)


def test_every_client_in_the_table_has_a_reason():
    names = [row["name"].casefold() for row in table()["clients"]]
    assert len(set(names)) == len(names)
    assert all(row["why"] and isinstance(row["automated"], bool) for row in table()["clients"])
