"""The cards of the published logs: tasks, columns, licence, citation, address, checksum.

Checksums: publishers give none, apart from Tianchi's MD5 behind its login. Those here were
compared as each file's comment says; where none could be, it is None and stays unknown until the
first fetch.
"""

from __future__ import annotations

from course_lib.datasets.cards import Card, Remote
from course_lib.events import TASKS

DMM_PAGES = {page: f"page_{page}" for page in range(7)}
JD_BEHAVIOURS = {
    1: "view_from_home",
    2: "view_from_list",
    3: "view_from_sale",
    4: "view_from_cart",
    5: "view_from_search",
    6: "read_comments",
    7: "read_specification",
    8: "scroll_to_bottom",
    9: "cart",
    10: "purchase",
}
_SESSION_RAW = (
    "https://raw.githubusercontent.com/rn5l/session-rec/"
    "02cf50705942f13a7f7ad77b0816403fb88df0f5/data/rsc15/prepared/"
)
_JD_RAW = (
    "https://raw.githubusercontent.com/guyulongcs/WSDM2020_HUP/"
    "50e12e35466b11f8982e2bede429ba5ee459903c/JD_Micro_Behaviors_Datasets_sample/"
)
_UCI = "https://archive.ics.uci.edu/static/public/"

ESHOP = Card(
    name="eshop",
    title="clicks in a Polish maternity-wear shop, April to August 2008",
    tasks=("next_event", "next_item"),
    clock="day",
    event_column="category_id",
    columns={
        "user_id": "the session: the shop recorded no users",
        "session_id": "the shop's session",
        "timestamp": "the day, plus the click's order in its session as seconds",
        "event": "view, always; the category plays the event",
        "item_id": "clothing model",
        "category_id": "trousers, skirts, blouses, sale",
        "price": "US dollars",
        "order": "order of the click in its session",
        "colour": "colour of the product",
        "location": "place of the photo on the page, 1 (top left) to 6",
        "photography": "en face or profile",
        "above_average": "is the price above its category's mean?",
        "page": "page number in the shop, 1 to 5",
        "country": "code of the country of the visitor's address, 29 is Poland",
    },
    rows=165_474,
    licence="CC BY 4.0",
    citation=(
        "Łapczyński M., Białowąs S. (2013), Discovering Patterns of Users' Behaviour in an E-shop, "
        "Studia Ekonomiczne 151, 144-153; UCI, doi:10.24432/C5QK7X"
    ),
    page="https://archive.ics.uci.edu/dataset/553/clickstream+data+for+online+shopping",
    # the archive's MD5 as downloaders report it; the CSV in it is the one this reader was
    # compared with, line ends apart
    files=(
        Remote(
            "clickstream+data+for+online+shopping.zip",
            f"{_UCI}553/clickstream+data+for+online+shopping.zip",
            "md5:bf7a47493025ffb35eebc7a65caf9988",
            795_262,
        ),
    ),
    notes=(
        "no clock times, users, carts or purchases",
        "sessions of up to 195 clicks; August ends on the 13th",
        "one model stands in two categories",
    ),
)

ONLINE_RETAIL = Card(
    name="online_retail",
    title="invoice lines of a UK gift wholesaler, December 2010 to December 2011",
    tasks=("next_item",),
    clock="time",
    event_column="event",
    columns={
        "user_id": "customer; missing in a quarter of the lines",
        "timestamp": "minute of the invoice, the shop's local time read as UTC",
        "event": "purchase, or return (a cancelled invoice or a negative quantity)",
        "item_id": "stock code; some are no product (POST, M, BANK CHARGES)",
        "price": "pounds sterling per unit",
        "quantity": "units; negative where returned",
        "title": "description",
        "invoice": "invoice number; C in front is a cancellation",
        "country": "country of the customer",
    },
    rows=541_909,
    licence="CC BY 4.0",
    citation="Chen D. (2015), Online Retail, UCI Machine Learning Repository, doi:10.24432/C5BW33",
    page="https://archive.ics.uci.edu/dataset/352/online+retail",
    # as many independent downloaders report it
    files=(
        Remote(
            "online+retail.zip",
            f"{_UCI}352/online+retail.zip",
            "sha256:f5385cbb54bbebf7196389109c6b0621faab0c304e3702548165e71c84aede8b",
        ),
    ),
    notes=(
        "the publisher's XLSX takes about half a minute the first time, then it is kept parsed",
        "sales only: nothing is known of browsing",
    ),
)

REES46 = Card(
    name="rees46",
    title="events of a multi-category shop, October 2019",
    tasks=TASKS,
    clock="time",
    event_column="event",
    columns={
        "user_id": "user",
        "session_id": "the shop's session",
        "timestamp": "second, UTC",
        "event": "view, cart, remove, purchase",
        "item_id": "product",
        "category_id": "category, as a number",
        "brand": "brand; often missing",
        "price": "US dollars",
        "category_path": "category as a path such as electronics.smartphone; often missing",
    },
    rows=42_448_764,
    licence="free to use with attribution to REES46; not redistributable",
    citation="Kechinov M., eCommerce behavior data from multi category store, REES46 (2019)",
    page="https://www.kaggle.com/datasets/mkechinov/ecommerce-behavior-data-from-multi-category-store",
    # as two independent downloaders report it
    files=(
        Remote(
            "2019-Oct.csv.gz",
            "https://data.rees46.com/datasets/marketplace/2019-Oct.csv.gz",
            "sha256:8ebca1ad741295297368f2cf0315e3f36853a1a11768fb16babf8c9b83838147",
            1_741_928_540,
        ),
    ),
    notes=(
        "rows are those of the whole month; a slice of it (2019-Oct_slice.csv) is read as well",
        "most buying sessions have no cart event; some session ids have two users",
    ),
    quick="one user in 100 of the whole month; a slice whole",
)

DMM = Card(
    name="dmm",
    title="page types of visits to an anonymous shop",
    tasks=("next_event", "purchase_intent"),
    clock="session",
    event_column="event",
    columns={
        "user_id": "the session: the shop published no users",
        "session_id": "the shop's session",
        "visit_id": "sessions that share the seconds of all their pages: altered copies of one",
        "timestamp": "seconds since the session began, from 1970-01-01 on",
        "event": "page type, page_0 to page_6",
        "item_id": "missing: no items were published",
        "session_purchase": "did the session buy? a label, known only afterwards",
    },
    rows=562_274,
    licence="released for benchmarking; research",
    citation=(
        "Özyurt Y., Hatt T., Zhang C., Feuerriegel S. (2022), A Deep Markov Model for Clickstream "
        "Analytics in Online Shopping, WWW 2022"
    ),
    page="https://github.com/oezyurty/ClickstreamDMM",
    files=(Remote("events.csv", None),),
    notes=(
        "the publisher ships pickled NumPy arrays, which can run code when opened, so the course "
        "does not; it reads them as events.csv with the columns session, pos, page_type, "
        "cum_time_s, purchase (validation and test folds, repeated sessions dropped)",
        "page_6 nearly gives the purchase away",
        "its 40,171 sessions are 24,236 visits: 69.5 % of the sessions share the seconds of all "
        "their pages, and the answer, with one to four others, and about 14 % of the page types "
        "differ; a split has to keep such copies together, by visit_id",
    ),
    decision_events=("page_6",),
)

YOOCHOOSE = Card(
    name="yoochoose",
    title="clicks in a European shop, 1 to 8 April 2014 (RecSys Challenge 2015)",
    tasks=("next_item",),
    clock="time",
    event_column="event",
    columns={
        "user_id": "the session: the shop published no users",
        "session_id": "the shop's session",
        "timestamp": "millisecond, UTC",
        "event": "view, always",
        "item_id": "item",
    },
    rows=83_846,
    licence="non-commercial research",
    citation=(
        "Ben-Shimon D. et al. (2015), RecSys Challenge 2015 and the YOOCHOOSE Dataset, RecSys; "
        "prepared by Ludewig M., Jannach D., session-rec"
    ),
    page="https://github.com/rn5l/session-rec/tree/master/data/rsc15/prepared",
    # of the files this reader was compared with; their sizes are those in the repository
    files=(
        Remote(
            "yoochoose-clicks-100k_train_full.txt",
            f"{_SESSION_RAW}yoochoose-clicks-100k_train_full.txt",
            "sha256:9842c90358298ee784fcf0c9dccb2eeb283ab04368e53bdeee896747f4c03e1e",
            2_146_008,
        ),
        Remote(
            "yoochoose-clicks-100k_test.txt",
            f"{_SESSION_RAW}yoochoose-clicks-100k_test.txt",
            "sha256:380410c606403531019e1ec0b4d192ef90492d594b9b5a91633b860618dd7136",
            414_350,
        ),
    ),
    notes=(
        "one-click sessions and rare items were removed before publication",
        "the whole challenge log (yoochoose-clicks.dat, 33,003,944 clicks) is read as well where "
        "it is here",
    ),
    quick="the whole log; of the whole challenge log one session in 80",
)

BEAUTY = Card(
    name="beauty",
    title="beauty products that people reviewed at Amazon, in order",
    tasks=("next_item",),
    clock="order",
    event_column="event",
    columns={
        "user_id": "user",
        "timestamp": "the order of the user's reviews as seconds from 1970-01-01 on",
        "event": "review, always",
        "item_id": "item",
    },
    rows=353_962,
    licence="research",
    citation=(
        "McAuley J. et al. (2015), Image-based recommendations on styles and substitutes, SIGIR "
        "2015; prepared by Sun F. et al. (2019), BERT4Rec, CIKM 2019"
    ),
    page="https://github.com/FeiSun/BERT4Rec",
    # of the file this reader was compared with
    files=(
        Remote(
            "beauty.txt",
            "https://raw.githubusercontent.com/FeiSun/BERT4Rec/master/data/beauty.txt",
            "sha256:f480b7a7403852342ffd8f9809bb30697dd669be31813d0e204b698fec86ef49",
            3_912_093,
        ),
    ),
    notes=("no user has an item twice; reviews of one day are in no known order",),
)

JD = Card(
    name="jd",
    title="micro-behaviours on home appliances at JD.com, 1,000 long sessions",
    tasks=TASKS,
    clock="session",
    event_column="event",
    columns={
        "user_id": "the session: the shop published no users",
        "session_id": "the shop's session",
        "timestamp": "seconds since the session began, from 1970-01-01 on",
        "event": ", ".join(JD_BEHAVIOURS.values()),
        "item_id": "product (SKU)",
        "category_id": "leaf category",
        "interval": "seconds until the NEXT event: known only afterwards",
        "dwell": "seconds on the product in this visit to it: known only afterwards",
    },
    rows=57_332,
    licence="only for research",
    citation=(
        "Gu Y., Ding Z., Wang S., Yin D. (2020), Hierarchical User Profiling for E-commerce "
        "Recommender Systems, WSDM 2020"
    ),
    page="https://github.com/guyulongcs/WSDM2020_HUP",
    # rebuilt from the events this reader was compared with; the size is the repository's
    files=(
        Remote(
            "JD_Applicances_sample",
            f"{_JD_RAW}JD_Applicances_sample",
            "sha256:699d8313d2ad4919ec8e39cb73d96d04cab5dcac654568a61343b797c8c7c99c",
            1_195_698,
        ),
    ),
    notes=(
        "only sessions of 40 events or more were published: a selection",
        "interval and dwell look ahead; a feature made of them leaks",
    ),
)

RETAILROCKET = Card(
    name="retailrocket",
    title="events of an unnamed shop, May to September 2015",
    tasks=TASKS,
    clock="time",
    event_column="event",
    columns={
        "user_id": "visitor",
        "timestamp": "millisecond, UTC",
        "event": "view, cart, purchase",
        "item_id": "item",
        "transaction_id": "transaction; missing where nothing was bought",
    },
    rows=2_756_101,
    licence="CC BY-NC-SA 4.0",
    citation="Zykov R., Artem N., Alexander A. (2022), Retailrocket recommender system dataset",
    page="https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset",
    files=(Remote("events.csv", None, None, 94_237_913),),
    notes=(
        "the whole download (ecommerce-dataset.zip) is read too; of its files, events.csv",
        "the publisher gives no checksum: only the layout is checked",
    ),
    quick="one visitor in 5",
)

TAOBAO = Card(
    name="taobao",
    title="behaviour of a million users of Taobao, 25 November to 3 December 2017",
    tasks=TASKS,
    clock="time",
    event_column="event",
    columns={
        "user_id": "user",
        "timestamp": "second, UTC; the shop's days are Beijing's (UTC+8)",
        "event": "view, cart, favorite, purchase",
        "item_id": "item",
        "category_id": "category",
    },
    rows=100_150_807,
    licence="CC BY-NC-SA 4.0",
    citation="Zhu H. et al. (2018), Learning Tree-based Deep Model for Recommender Systems, KDD",
    page="https://tianchi.aliyun.com/dataset/649",
    # of the unpacked file, as three independent downloaders report it
    files=(
        Remote(
            "UserBehavior.csv",
            None,
            "sha256:46fdd7d389c1ddc7922eb7d9014af5573a4a3045da28c6c46197636873d8f1a9",
            3_672_347_465,
        ),
    ),
    notes=(
        "no header; UserBehavior.csv.zip is read as it is; Tianchi shows the archive's MD5 beside "
        "it",
        "some timestamps lie far outside the nine days, a few before 1970",
        "the full profile reads a hundred million rows at once: mind the memory",
    ),
    quick="one user in 200",
)

CARDS = {
    card.name: card
    for card in (
        ESHOP,
        ONLINE_RETAIL,
        REES46,
        DMM,
        YOOCHOOSE,
        BEAUTY,
        JD,
        RETAILROCKET,
        TAOBAO,
    )
}
