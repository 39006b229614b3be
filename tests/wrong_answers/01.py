# ruff: noqa
# %% 01.1 as shipped
# message: The search vanished

# %% 01.1 the incomplete rows are dropped
# message: are in neither table
def set_aside(raw):
    kept = raw.dropna(subset=["user_id", "timestamp", "event"])
    return kept, raw.iloc[:0].assign(reason="")

# %% 01.1 everything with a hole goes to the quarantine
# message: A search has none: it is complete
def set_aside(raw):
    complete = raw.notna().all(axis=1)
    return raw[complete], raw[~complete].assign(reason="missing user")

# %% 01.1 row numbers made anew
# message: no row can be found again in the file
def set_aside(raw):
    bad = raw[["user_id", "timestamp", "event"]].isna().any(axis=1)
    return raw[~bad].reset_index(drop=True), raw[bad].assign(reason="missing user").reset_index(drop=True)

# %% 01.1 equal rows dropped on the way
# message: Two equal rows became one
def set_aside(raw):
    bad = raw[["user_id", "timestamp", "event"]].isna().any(axis=1)
    return raw[~bad].drop_duplicates(), raw[bad].assign(reason="missing user")

# %% 01.1 a column assigned to an empty table
# message: more rows came out than went in
def set_aside(raw):
    reason = pd.Series(np.nan, index=raw.index, dtype="str")
    for column, lack in (("event", "event"), ("timestamp", "time"), ("user_id", "user")):
        reason[raw[column].isna()] = f"missing {lack}"
    return raw[reason.isna()], raw[reason.notna()].assign(reason=reason)

# %% 01.1 no reason
# message: a row without its reason cannot be argued about
def set_aside(raw):
    bad = raw[["user_id", "timestamp", "event"]].isna().any(axis=1)
    return raw[~bad], raw[bad]

# %% 01.2 compared in the order of the file
# message: sort by user and time before comparing
def double_fires(log, seconds=1.0):
    same = log["user_id"] == log["user_id"].shift()
    for column in ("event", "item_id"):
        same &= log[column].cat.codes == log[column].cat.codes.shift()
    return same & (log["timestamp"].diff().abs() <= pd.Timedelta(seconds=seconds))

# %% 01.2 the event forgotten
# message: the event must be the same
def double_fires(log, seconds=1.0):
    ordered = log.sort_values(["user_id", "timestamp"])
    same = (ordered["user_id"] == ordered["user_id"].shift()) & (ordered["item_id"].cat.codes == ordered["item_id"].cat.codes.shift())
    return (same & (ordered["timestamp"].diff() <= pd.Timedelta(seconds=seconds))).reindex(log.index)

# %% 01.2 the user forgotten
# message: the rows of different users must not be compared
def double_fires(log, seconds=1.0):
    ordered = log.sort_values("timestamp")
    same = (ordered["event"].cat.codes == ordered["event"].cat.codes.shift()) & (ordered["item_id"].cat.codes == ordered["item_id"].cat.codes.shift())
    return (same & (ordered["timestamp"].diff() <= pd.Timedelta(seconds=seconds))).reindex(log.index)

# %% 01.2 the first of the two marked
# message: shift(-1) looks at the row after
def double_fires(log, seconds=1.0):
    ordered = log.sort_values(["user_id", "timestamp"])
    same = ordered["user_id"] == ordered["user_id"].shift(-1)
    for column in ("event", "item_id"):
        same &= ordered[column].cat.codes == ordered[column].cat.codes.shift(-1)
    return (same & (ordered["timestamp"].shift(-1) - ordered["timestamp"] <= pd.Timedelta(seconds=seconds))).reindex(log.index)

# %% 01.2 searches compared by ==
# message: NaN == NaN is False
def double_fires(log, seconds=1.0):
    ordered = log.sort_values(["user_id", "timestamp"])
    same = ordered["user_id"] == ordered["user_id"].shift()
    for column in ("event", "item_id"):
        text = ordered[column].astype(object)
        same &= text == text.shift()
    return (same & (ordered["timestamp"].diff() <= pd.Timedelta(seconds=seconds))).reindex(log.index)

# %% 01.2 less than a second, not at most
# message: compare with <=, not with <
def double_fires(log, seconds=1.0):
    ordered = log.sort_values(["user_id", "timestamp"], kind="stable")
    same = ordered["user_id"] == ordered["user_id"].shift()
    for column in ("event", "item_id"):
        same &= ordered[column].cat.codes == ordered[column].cat.codes.shift()
    return (same & (ordered["timestamp"].diff() < pd.Timedelta(seconds=seconds))).reindex(log.index)

# %% 01.2 duplicated over all columns
# message: Only rows with the very same time are marked
def double_fires(log, seconds=1.0):
    return log.duplicated()

# %% 01.2 duplicated without the time
# message: the time is not compared
def double_fires(log, seconds=1.0):
    return log.duplicated(["user_id", "event", "item_id"])

# %% 01.2 grouped by user, not sorted
# message: sort by time as well, not only by user
def double_fires(log, seconds=1.0):
    by_user = log.groupby("user_id")
    same = by_user["timestamp"].diff() <= pd.Timedelta(seconds=seconds)
    for column in ("event", "item_id"):
        codes = log[column].cat.codes
        same &= codes == codes.groupby(log["user_id"]).shift()
    return same

# %% 01.2 grouped by everything
# message: the row before the second view is the cart
def double_fires(log, seconds=1.0):
    ordered = log.sort_values("timestamp", kind="stable")
    keys = ["user_id", "event", "item_id"]
    gaps = ordered.groupby(keys, observed=True, dropna=False)["timestamp"].diff()
    return (gaps <= pd.Timedelta(seconds=seconds)).reindex(log.index)

# %% 01.2 left in the sorted order
# message: reindex(log.index) brings it back
def double_fires(log, seconds=1.0):
    ordered = log.sort_values(["user_id", "timestamp"], kind="stable")
    same = ordered["user_id"] == ordered["user_id"].shift()
    for column in ("event", "item_id"):
        same &= ordered[column].cat.codes == ordered[column].cat.codes.shift()
    return (same & (ordered["timestamp"].diff() <= pd.Timedelta(seconds=seconds))).to_numpy()

# %% 01.3 as shipped
# message: judged by the prices of all items, televisions included

# %% 01.3 the three-sigma rule within each item
# message: inflates the standard deviation by which it is judged
def absurd(prices):
    by_item = prices.groupby("item_id", observed=True)["price"]
    z = (prices["price"] - by_item.transform("mean")) / by_item.transform("std")
    return (z.abs() > 3) | (prices["price"] <= 0)

# %% 01.3 only too high
# message: A television at 9 passes
def absurd(prices):
    usual = prices.groupby("item_id", observed=True)["price"].transform("median")
    return (prices["price"] > 5 * usual) | (prices["price"] <= 0)

# %% 01.3 the mean of the item
# message: the seven are marked
def absurd(prices):
    usual = prices.groupby("item_id", observed=True)["price"].transform("mean")
    ratio = prices["price"] / usual
    return (ratio > 5) | (ratio < 1 / 5) | (prices["price"] <= 0)

# %% 01.3 a missing price is no price between
# message: A missing price is marked
def absurd(prices):
    usual = prices.groupby("item_id", observed=True)["price"].transform("median")
    return ~(prices["price"] / usual).between(1 / 5, 5)

# %% 01.3 Tukey's fences within each item
# message: every honest sale lies outside
def absurd(prices):
    by_item = prices.groupby("item_id", observed=True)["price"]
    low, high = by_item.transform("quantile", 0.25), by_item.transform("quantile", 0.75)
    fence = 1.5 * (high - low)
    return (prices["price"] < low - fence) | (prices["price"] > high + fence)

# %% 01.4 as shipped
# message: the scale was fitted on everything

# %% 01.4 each part fitted on itself
# message: each was fitted on itself
def scale(train, test):
    parts = [np.log1p(part) for part in (train, test)]
    return tuple((part - part.mean()) / (part.std() or 1.0) for part in parts)

# %% 01.4 no logarithm
# message: scaled without their logarithm
def scale(train, test):
    mean, deviation = train.mean(), train.std() or 1.0
    return (train - mean) / deviation, (test - mean) / deviation

# %% 01.4 log instead of log1p
# message: log, not log1p
def scale(train, test):
    past = np.log(train)
    deviation = past.std() or 1.0
    return (past - past.mean()) / deviation, (np.log(test) - past.mean()) / deviation

# %% 01.4 divided by zero
# message: three equal prices have a deviation of 0
def scale(train, test):
    past = np.log1p(train)
    return (past - past.mean()) / past.std(), (np.log1p(test) - past.mean()) / past.std()

# %% 01.5 a plain hash
# message: The key changes nothing
def mask(users, key):
    return users.map(lambda user: hashlib.sha256(str(user).encode()).hexdigest()[:16])

# %% 01.5 numbered in order of appearance
# message: depends on who else is in the table
def mask(users, key):
    return pd.Series(pd.factorize(users)[0].astype(str))

# %% 01.5 a random mask for every row
# message: there are no sequences left to learn from
def mask(users, key):
    import uuid
    return users.map(lambda user: uuid.uuid4().hex)

# %% 01.5 the key only put in front
# message: The id can be read off its own mask
def mask(users, key):
    return users.map(lambda user: f"{key[:2].hex()}-{user}")

# %% 01.5 a thousand buckets
# message: share a mask with another
def mask(users, key):
    return users.map(lambda user: hmac.new(key, str(user).encode(), hashlib.sha256).hexdigest()[:3])

# %% 01.6 the busiest are bots
# message: loyal customers
def find_bots(log):
    return list(log["user_id"].value_counts().index[:60])

# %% 01.6 who never buys is a bot
# message: not buying is what most people do
def find_bots(log):
    buyers = log.loc[log["event"].isin(["cart", "purchase"]), "user_id"]
    return list(set(log["user_id"]) - set(buyers))

# %% 01.6 the rule of the lesson
# message: pause like people and fill a cart
def find_bots(log):
    by_user = log.assign(act=~log["event"].isin(["view", "search"]), log_gap=np.log(log.groupby("user_id")["timestamp"].diff().dt.total_seconds().where(lambda gap: gap <= 1800).clip(lower=0.5))).groupby("user_id")
    guilty = (by_user.size() >= 60) & (by_user["act"].mean() <= 0.01) & (by_user["log_gap"].std() < 0.5)
    return list(guilty.index[guilty])

# %% 01.6 ids learnt by heart
# message: ids found in another world mean nothing
def find_bots(log):
    return list(practice_bots)

# %% 01.6 nobody
# message: Nobody is accused
def find_bots(log):
    return []
