# ruff: noqa
# %% 03.1 divided by the last hour's number
# message: one and the same point
def around(times, hours):
    angle = 2 * np.pi * (24 * times.dt.day_of_week + times.dt.hour) / (hours - 1)
    return np.column_stack([np.sin(angle), np.cos(angle)])


# %% 03.1 no 2 pi
# message: 2 pi is missing
def around(times, hours):
    part = (24 * times.dt.day_of_week + times.dt.hour + times.dt.minute / 60) % hours / hours
    return np.column_stack([np.sin(part), np.cos(part)])


# %% 03.1 whole hours
# message: the minutes are lost
def around(times, hours):
    angle = 2 * np.pi * (24 * times.dt.day_of_week + times.dt.hour) / hours
    return np.column_stack([np.sin(angle), np.cos(angle)])


# %% 03.1 the weekday forgotten
# message: Monday noon and Tuesday noon are the same point
def around(times, hours):
    angle = 2 * np.pi * (times.dt.hour + times.dt.minute / 60 + times.dt.second / 3600) / hours
    return np.column_stack([np.sin(angle), np.cos(angle)])


# %% 03.1 the weekday alone
# message: all of Monday is one point
def around(times, hours):
    hour = times.dt.hour + times.dt.minute / 60 + times.dt.second / 3600
    turn = hour / 24 if hours == 24 else times.dt.day_of_week / 7
    return np.column_stack([np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)])


# %% 03.1 cosine first
# message: The cosine stands first
def around(times, hours):
    day = times.dt.hour + times.dt.minute / 60 + times.dt.second / 3600
    angle = 2 * np.pi * (24 * times.dt.day_of_week + day) / hours
    return np.column_stack([np.cos(angle), np.sin(angle)])


# %% 03.1 the sine alone
# message: A single column comes back
def around(times, hours):
    return np.sin(2 * np.pi * (24 * times.dt.day_of_week + times.dt.hour) / hours).to_numpy()


# %% 03.1 counted from Sunday
# message: begins on Sunday
def around(times, hours):
    day = times.dt.hour + times.dt.minute / 60 + times.dt.second / 3600
    angle = 2 * np.pi * (24 * (times.dt.day_of_week + 1) + day) / hours
    return np.column_stack([np.sin(angle), np.cos(angle)])


# %% 03.2 as shipped
# message: taken over all rows


# %% 03.2 each part by itself
# message: with the mean of the test part
def price_within_category(log, train):
    price = np.log(log["price"])
    return price - price.groupby([log["category_id"], train], observed=True).transform("mean")


# %% 03.2 the logarithm of the mean
# message: instead of the mean of the logarithms
def price_within_category(log, train):
    known = log[train].groupby("category_id", observed=True)["price"].mean()
    usual = log["category_id"].map(known).astype(float).fillna(log["price"][train].mean())
    return np.log(log["price"]) - np.log(usual)


# %% 03.2 new categories left out
# message: gets no number
def price_within_category(log, train):
    price = np.log(log["price"])
    known = price[train].groupby(log["category_id"][train], observed=True).mean()
    return price - log["category_id"].map(known).astype(float)


# %% 03.2 new categories called usual
# message: nobody knows what lamps cost
def price_within_category(log, train):
    price = np.log(log["price"])
    known = price[train].groupby(log["category_id"][train], observed=True).mean()
    return (price - log["category_id"].map(known).astype(float)).fillna(0)


# %% 03.2 fallback from all rows
# message: the fallback is fitted, too
def price_within_category(log, train):
    price = np.log(log["price"])
    known = price[train].groupby(log["category_id"][train], observed=True).mean()
    return price - log["category_id"].map(known).astype(float).fillna(price.mean())


# %% 03.2 fallback from the means of the categories
# message: two desks weigh as much as four pens
def price_within_category(log, train):
    price = np.log(log["price"])
    known = price[train].groupby(log["category_id"][train]).mean()
    return price - log["category_id"].map(known).fillna(known.mean())


# %% 03.2 one mean for the shop
# message: a dear pen still looks cheap
def price_within_category(log, train):
    price = np.log(log["price"])
    return price - price[train].mean()


# %% 03.2 only the training rows come back
# message: the test rows must be described
def price_within_category(log, train):
    price = np.log(log["price"][train])
    return price - price.groupby(log["category_id"][train], observed=True).transform("mean")


# %% 03.3 as shipped
# message: has seen its own future


# %% 03.3 not by session
# message: runs on from visit to visit
def count_so_far(log):
    new = log["item_id"].notna() & ~log.duplicated(["session_id", "item_id"])
    return pd.DataFrame({"carts": (log["event"] == "cart").cumsum(), "items": new.cumsum()})


# %% 03.3 by user
# message: over all visits of a user
def count_so_far(log):
    user = log["user_id"]
    new = log["item_id"].notna() & ~log.duplicated(["user_id", "item_id"])
    carts = (log["event"] == "cart").groupby(user).cumsum()
    return pd.DataFrame({"carts": carts, "items": new.groupby(user).cumsum()})


# %% 03.3 the own event left out
# message: leaves its own event out
def count_so_far(log):
    session, cart = log["session_id"], (log["event"] == "cart").astype(int)
    new = (log["item_id"].notna() & ~log.duplicated(["session_id", "item_id"])).astype(int)
    return pd.DataFrame(
        {
            "carts": cart.groupby(session).cumsum() - cart,
            "items": new.groupby(session).cumsum() - new,
        }
    )


# %% 03.3 items counted again
# message: The column items counts events
def count_so_far(log):
    session = log["session_id"]
    carts = (log["event"] == "cart").groupby(session).cumsum()
    return pd.DataFrame({"carts": carts, "items": log["item_id"].notna().groupby(session).cumsum()})


# %% 03.3 no item taken for one
# message: all missing values for one
def count_so_far(log):
    session = log["session_id"]
    new = ~log.duplicated(["session_id", "item_id"])
    carts = (log["event"] == "cart").groupby(session).cumsum()
    return pd.DataFrame({"carts": carts, "items": new.groupby(session).cumsum()})


# %% 03.3 new to the shop
# message: A visit counts for itself
def count_so_far(log):
    session = log["session_id"]
    new = log["item_id"].notna() & ~log.duplicated("item_id")
    carts = (log["event"] == "cart").groupby(session).cumsum()
    return pd.DataFrame({"carts": carts, "items": new.groupby(session).cumsum()})


# %% 03.4 as shipped
# message: the encoding was made from all rows


# %% 03.4 fitted on the training part, and no more
# message: still reads its own answer
def target_encoding(table, weight):
    train = table["part"] == "train"
    return smoothed_rates(table[train], table["category"], weight)


# %% 03.4 each part by itself
# message: encoded by the labels of the test part
def target_encoding(table, weight):
    code = pd.Series(np.nan, index=table.index)
    for part in ("train", "test"):
        rows = table["part"] == part
        code[rows] = smoothed_rates(table[rows], table["category"][rows], weight)
    return code


# %% 03.4 only itself left out
# message: each row leaves out only itself
def target_encoding(table, weight):
    train = table["part"] == "train"
    known = table[train]
    code = smoothed_rates(known, table["category"], weight)
    group = known.groupby("category")["buys"]
    usual = (known["buys"].sum() - known["buys"]) / (len(known) - 1)
    others = group.transform("sum") - known["buys"]
    code[train] = (others + weight * usual) / (group.transform("count") - 1 + weight)
    return code


# %% 03.4 leans on everybody
# message: a thin leak is a leak
def target_encoding(table, weight):
    train = table["part"] == "train"
    usual = table["buys"][train].mean()

    def rates(known, asked):
        group = known.groupby("category")["buys"]
        rate = (group.sum() + weight * usual) / (group.count() + weight)
        return asked.map(rate).fillna(usual)

    code = rates(table[train], table["category"])
    for fold in table["fold"][train].unique():
        inside = train & (table["fold"] == fold)
        code[inside] = rates(table[train & ~inside], table["category"][inside])
    return code


# %% 03.4 not smoothed
# message: Rates of rare categories lean on the mean
def target_encoding(table, weight):
    train = table["part"] == "train"
    code = smoothed_rates(table[train], table["category"], 0)
    for fold in table["fold"][train].unique():
        inside = train & (table["fold"] == fold)
        code[inside] = smoothed_rates(table[train & ~inside], table["category"][inside], 0)
    return code


# %% 03.4 new categories left out
# message: is the first `d`
def target_encoding(table, weight):
    train = table["part"] == "train"

    def rates(known, asked):
        group = known.groupby("category")["buys"]
        rate = (group.sum() + weight * known["buys"].mean()) / (group.count() + weight)
        return asked.map(rate)

    code = rates(table[train], table["category"])
    for fold in table["fold"][train].unique():
        inside = train & (table["fold"] == fold)
        code[inside] = rates(table[train & ~inside], table["category"][inside])
    return code


# %% 03.4 test rows learn from one fold only
# message: found 0.
def target_encoding(table, weight):
    train = table["part"] == "train"
    code = pd.Series(np.nan, index=table.index)
    for fold in table["fold"][train].unique():
        inside = train & (table["fold"] == fold)
        rates = smoothed_rates(table[train & ~inside], table["category"], weight)
        code[inside | ~train] = rates[inside | ~train]
    return code


# %% 03.5 as shipped
# message: The test rows had a say


# %% 03.5 the best of the test
# message: chosen by the test part alone
def choose_columns(features, buys, part, keep):
    asked = part == "test"
    strength = features[asked].corrwith(buys[asked]).abs()
    return list(strength.nlargest(keep).index)


# %% 03.5 only upwards
# message: The column `fewer_visits` is missing
def choose_columns(features, buys, part, keep):
    seen = part == "train"
    return list(features[seen].corrwith(buys[seen]).nlargest(keep).index)


# %% 03.5 sorted the wrong way
# message: The column `more_carts` is missing
def choose_columns(features, buys, part, keep):
    seen = part == "train"
    return list(features[seen].corrwith(buys[seen]).sort_values().index[:keep])


# %% 03.5 strengths instead of names
# message: strengths or positions alone say nothing
def choose_columns(features, buys, part, keep):
    seen = part == "train"
    return list(features[seen].corrwith(buys[seen]).abs().nlargest(keep))


# %% 03.5 the columns that vary most
# message: chosen were
def choose_columns(features, buys, part, keep):
    return list(features[part == "train"].var().nlargest(keep).index)


# %% 03.6 the baseline
# message: the baseline's own features
def make_features(log):
    return given.count_events(log)


# %% 03.6 totals of the session
# message: A feature knows the rest of its own session
def make_features(log):
    event = pd.get_dummies(log["event"], dtype=float)
    return event.join(event.groupby(log["session_id"]).transform("sum").add_suffix(" in all"))


# %% 03.6 standardised over the whole log
# message: has seen what came after
def make_features(log):
    event = pd.get_dummies(log["event"], dtype=float)
    counts = np.log1p(event.groupby(log["session_id"]).cumsum())
    return event.join((counts - counts.mean()).add_suffix(" so far"))


# %% 03.6 holes
# message: A session's first row has no row before it
def make_features(log):
    event = pd.get_dummies(log["event"], dtype=float)
    silence = log.groupby("session_id")["timestamp"].diff().dt.total_seconds()
    return event.assign(silence=silence)


# %% 03.6 names among the numbers
# message: no numbers are in: event
def make_features(log):
    return log[["event"]].assign(place=log.groupby("session_id").cumcount())


# %% 03.6 nothing at all
# message: nobody can be told from anybody
def make_features(log):
    return pd.DataFrame({"one": np.ones(len(log))})


# %% 03.6 the hour alone
# message: the floor is
def make_features(log):
    angle = 2 * np.pi * log["timestamp"].dt.hour / 24
    return pd.DataFrame({"sine": np.sin(angle), "cosine": np.cos(angle)})
