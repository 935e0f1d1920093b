"""Small exports of networks and chats, for the tests of fetch."""

import json
from typing import Any

REDDIT = {
    "comments.csv": "id,permalink,date,ip,subreddit,gildings,link,parent,body,media\n"
    'c1,x,2023-02-01 12:00:00 UTC,,birds,0,https://www.reddit.com/r/birds/comments/p1/x/,,"I think so, too",\n'
    'c2,x,2023-02-01 12:05:00 UTC,,birds,0,https://www.reddit.com/r/birds/comments/p9/x/,c1,"> Really?\n\nYes & no",\n'
    "c3,x,2023-02-01 12:06:00 UTC,,birds,0,,c9,[deleted],\n",
    "posts.csv": "id,permalink,date,ip,subreddit,gildings,title,url,body\n"
    'p1,x,2023-01-01 08:00:00 UTC,10.0.0.1,birds,0,A wren at last,,"It sat ""there"""\n'
    "p2,x,2023-01-02 08:00:00 UTC,10.0.0.1,birds,0,Only a title,https://x.example,\n",
    "statistics.csv": "statistic,value\naccount name,wren_b\nexport time,2023-03-01 00:00:00 UTC\n",
    "messages_archive.csv": "id,body\nm1,secret\n",
}

THREADS = {
    "your_instagram_activity/threads/threads_and_replies.json": json.dumps(
        {"text_post_app_text_posts": [
            {"media": [{"uri": "", "creation_timestamp": 1688633220, "title": "Caf\u00c3\u00a9 au lait \u00f0\u009f\u0098\u008a"}]},
            {"media": [{"uri": "a.jpg", "creation_timestamp": 1688633230, "title": ""}]},
        ]}
    ),
    "personal_information/personal_information/personal_information.json": json.dumps(
        {"profile_user": [{"string_map_data": {"Username": {"value": "wren"}, "Name": {"value": "Wr\u00c3\u00a8n"}, "Bio": {"value": "Small"}}}]}
    ),
    "messages/inbox/bob_1/message_1.json": json.dumps({"messages": [{"sender_name": "Bob", "content": "secret"}]}),
}  # fmt: skip
INSTAGRAM = {
    "your_instagram_activity/media/posts_1.json": json.dumps(
        [
            {"media": [{"uri": "a.jpg", "creation_timestamp": 1600000000, "title": "\u00ce\u0093\u00ce\u00b5\u00ce\u00b9\u00ce\u00b1"}]},
            {"media": [{"uri": "b.jpg", "creation_timestamp": 1600000100, "title": ""}, {"uri": "c.jpg", "title": ""}],
             "title": "Two pictures", "creation_timestamp": 1600000101},
        ]
    ),
    "your_instagram_activity/comments/post_comments_1.json": json.dumps(
        [{"media_list_data": [{"uri": ""}],
          "string_map_data": {"Comment": {"value": "So lovely"}, "Media Owner": {"value": "bob"}, "Time": {"timestamp": 1600000200}}}]
    ),
    "your_instagram_activity/comments/reels_comments.json": json.dumps(
        {"comments_reels_comments": [{"string_map_data": {"Kommentar": {"value": "Sch\u00c3\u00b6n"}, "Zeit": {"timestamp": 1600000300}}}]}
    ),
    "your_instagram_activity/media/stories.json": json.dumps({"ig_stories": [{"title": "A story", "creation_timestamp": 1}]}),
}  # fmt: skip

DISCORD = {
    "account/user.json": json.dumps({"id": "1", "username": "wren", "global_name": "Wren", "email": "wren@example.org"}),
    "messages/index.json": json.dumps({"111": "general"}),
    "messages/c111/channel.json": json.dumps({"id": "111", "type": 0, "guild": {"id": "9", "name": "Birds"}}),
    "messages/c111/messages.json": json.dumps(
        [
            {"ID": 1011, "Timestamp": "2023-02-01 12:00:00", "Contents": "Hello <@42> <:wren:99>", "Attachments": ""},
            {"ID": 1012, "Timestamp": "2023-02-01 12:01:00", "Contents": "", "Attachments": "https://x.example/a.png"},
            {"ID": 1013, "Timestamp": "2023-02-01 12:02:00", "Contents": "> what he said\nNo, not so", "Attachments": ""},
        ]
    ),
    "messages/c222/channel.json": json.dumps({"id": "222", "type": "DM", "recipients": ["1", "2"]}),
    "messages/c222/messages.csv": 'ID,Timestamp,Contents,Attachments\n2021,2023-02-01 13:00:00.123000+00:00,"One, two",\n',
}

TELEGRAM: dict[str, Any] = {
    "name": "Bob", "type": "personal_chat", "id": 77,
    "messages": [
        {"id": 1, "type": "service", "date": "2023-02-01T12:00:00", "actor": "Bob", "action": "phone_call", "text": ""},
        {"id": 2, "type": "message", "date": "2023-02-01T13:00:00", "date_unixtime": "1675252800", "from": "Ann B", "from_id": "user1",
         "text": ["See ", {"type": "link", "text": "https://x.example"}, " ok"]},
        {"id": 3, "type": "message", "date": "2023-02-01T13:01:00", "from": "Bob", "from_id": "user2", "text": "His secret"},
        {"id": 4, "type": "message", "date": "2023-02-01T13:02:00", "from": "Ann B", "from_id": "user1", "forwarded_from": None, "text": "Passed on"},
        {"id": 5, "type": "message", "date": "2023-02-01T13:03:00", "from": "Ann B", "from_id": "user1", "reply_to_message_id": 3,
         "text": [{"type": "blockquote", "text": "His secret"}, "I see"], "edited_unixtime": "1675252900"},
        {"id": 6, "type": "message", "date": "2023-02-01T13:04:00", "from": "Ann B", "from_id": "user1", "photo": "a.jpg", "text": ""},
    ],
}  # fmt: skip

WHATSAPP = {
    "ios": (
        "\u200e[31.01.23, 21:15:03] Ann B: \u200eMessages and calls are end-to-end encrypted.\n"
        "[31.01.23, 21:15:04] Ann B: Hello there\nand a second line\n[01.02.23, 21:16:00] Bob: His secret\n"
        "\u200e[01.02.23, 21:17:00] Ann B: \u200eimage omitted\n[01.02.23, 21:18:00] ~\u202fBob C: [x] no\n"
        "[02.02.23, 08:00:00] Ann B: Corrected \u200e<This message was edited>\n"
    ),
    "android": (
        "1/31/23, 9:10 PM - Messages and calls are end-to-end encrypted. Tap to learn more.\n"
        "1/31/23, 9:15\u202fPM - Ann B: Hello there\nand a second line\n2/1/23, 9:16 PM - Bob: His secret\n"
        "2/1/23, 9:17 PM - Ann B: <Media omitted>\n2/1/23, 9:17 PM - Ann B: IMG-1.jpg (file attached)\n"
        "2/1/23, 9:18 PM - Ann B: This message was deleted\n2/1/23, 9:19 PM - Bob added Carl\n2/2/23, 8:00 AM - Ann B: Corrected\n"
    ),
}
