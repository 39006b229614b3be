# ruff: noqa
# %% 02.1 only the silence
# message: both are in one session
def cut_sessions(log, minutes):
    silent = log["timestamp"].diff() > pd.Timedelta(minutes=minutes)
    return silent.cumsum().to_numpy()


# %% 02.1 numbers start again with each user
# message: The numbers start again with every user
def cut_sessions(log, minutes):
    silence = log.groupby("user_id")["timestamp"].diff() > pd.Timedelta(minutes=minutes)
    return silence.groupby(log["user_id"]).cumsum().to_numpy()


# %% 02.1 the limit itself ends a session
# message: only a *longer* silence ends
def cut_sessions(log, minutes):
    silent = log["timestamp"].diff() >= pd.Timedelta(minutes=minutes)
    return (silent | (log["user_id"] != log["user_id"].shift())).cumsum().to_numpy() - 1


# %% 02.1 counted from 1
# message: The first session has the number 1
def cut_sessions(log, minutes):
    silent = log["timestamp"].diff() > pd.Timedelta(minutes=minutes)
    return (silent | (log["user_id"] != log["user_id"].shift())).cumsum().to_numpy()


# %% 02.1 whole days left out
# message: leaves whole days out
def cut_sessions(log, minutes):
    silent = log["timestamp"].diff().dt.seconds > 60 * minutes
    return (silent | (log["user_id"] != log["user_id"].shift())).cumsum().to_numpy() - 1


# %% 02.2 as shipped
# message: target stands inside its own window


# %% 02.2 an event skipped
# message: two events after the window
def make_windows(items, length):
    inputs, targets = [], []
    for start in range(len(items) - length - 1):
        inputs.append(items[start : start + length])
        targets.append(items[start + length + 1])
    return inputs, targets


# %% 02.2 last window lost
# message: The last window is missing
def make_windows(items, length):
    inputs, targets = [], []
    for start in range(len(items) - length - 1):
        inputs.append(items[start : start + length])
        targets.append(items[start + length])
    return inputs, targets


# %% 02.2 windows that do not overlap
# message: The windows stand side by side
def make_windows(items, length):
    inputs, targets = [], []
    for start in range(0, len(items) - length, length):
        inputs.append(items[start : start + length])
        targets.append(items[start + length])
    return inputs, targets


# %% 02.2 targets returned first
# message: the other way round
def make_windows(items, length):
    starts = range(len(items) - length)
    return np.array([items[i + length] for i in starts]), [items[i : i + length] for i in starts]


# %% 02.2 shorter windows
# message: one item less than `length`
def make_windows(items, length):
    inputs, targets = [], []
    for start in range(len(items) - length + 1):
        inputs.append(items[start : start + length - 1])
        targets.append(items[start + length - 1])
    return inputs, targets


# %% 02.3 as shipped
# message: visible in its own prefix


# %% 02.3 purchases taken out before cutting
# message: an event from after the decision
def make_prefixes(log, length):
    rest = log[log["event"] != "purchase"]
    sessions = rest.groupby("session_id")["event"]
    first = rest[sessions.cumcount() < length]
    shown = first.groupby("session_id")["event"].agg(" ".join)
    buys = log.groupby("session_id")["event"].agg(lambda events: "purchase" in set(events))
    return pd.DataFrame({"shown": shown, "buys": buys.reindex(shown.index)})


# %% 02.3 label from the prefix
# message: No session that buys is left
def make_prefixes(log, length):
    first = log[log.groupby("session_id").cumcount() < length]
    sessions = first.groupby("session_id")["event"]
    asked = sessions.agg(lambda events: len(events) == length and "purchase" not in set(events))
    shown = sessions.agg(" ".join)[asked]
    return pd.DataFrame({"shown": shown, "buys": shown.str.contains("purchase")})


# %% 02.3 short sessions asked
# message: never shows three events
def make_prefixes(log, length):
    sessions = log.groupby("session_id")["event"]
    first = log[sessions.cumcount() < length]
    shown = first.groupby("session_id")["event"].agg(" ".join)
    shown = shown[~shown.str.contains("purchase")]
    buys = sessions.agg(lambda events: "purchase" in set(events))
    return pd.DataFrame({"shown": shown, "buys": buys.reindex(shown.index)})


# %% 02.3 purchases taken out after cutting
# message: leaves a prefix one event short
def make_prefixes(log, length):
    first = log[log.groupby("session_id").cumcount() < length]
    shown = first[first["event"] != "purchase"].groupby("session_id")["event"].agg(" ".join)
    buys = log.groupby("session_id")["event"].agg(lambda events: "purchase" in set(events))
    return pd.DataFrame({"shown": shown, "buys": buys.reindex(shown.index)})


# %% 02.4 as shipped
# message: shuffled before the split


# %% 02.4 each window by its own time
# message: in two parts: its windows were judged one by
def give_parts(cut, boundary):
    return np.where(cut["seen_until"] < boundary, "train", "test")


# %% 02.4 straddling session in training
# message: training sees what happened
def give_parts(cut, boundary):
    return np.where(cut["session_start"] < boundary, "train", "test")


# %% 02.4 straddling session in the test
# message: no session of the future
def give_parts(cut, boundary):
    return np.where(cut["session_end"] < boundary, "train", "test")


# %% 02.4 whole sessions by chance
# message: but chance deals them
def give_parts(cut, boundary):
    sessions = cut["session_id"].unique()
    test = np.random.default_rng(0).choice(sessions, len(sessions) // 5, replace=False)
    return np.where(cut["session_id"].isin(test), "test", "train")


# %% 02.5 as shipped
# message: fitted on all rows


# %% 02.5 each part by itself
# message: scaled by their own mean
def standardise(values, train):
    scaled = np.empty(len(values))
    for part in (train, ~train):
        scaled[part] = (values[part] - values[part].mean()) / values[part].std()
    return scaled


# %% 02.5 only the training rows come back
# message: the test rows are missing
def standardise(values, train):
    return (values[train] - values[train].mean()) / values[train].std()


# %% 02.5 no division
# message: nothing is divided by the spread
def standardise(values, train):
    return values - values[train].mean()


# %% 02.5 only the mean from training
# message: but the spread from all rows
def standardise(values, train):
    return (values - values[train].mean()) / values.std()


# %% 02.5 the mask the wrong way round
# message: fitted on the test rows
def standardise(values, train):
    return (values - values[~train].mean()) / values[~train].std()


# %% 02.6 bestsellers for all
# message: Everybody gets the same bestsellers
def suggest(train, questions, places):
    popular = train["answer"].value_counts().index[:places].to_numpy()
    return np.tile(popular, (len(questions), 1))


# %% 02.6 the baseline
# message: This is the baseline itself
def suggest(train, questions, places):
    return last_event_baseline(train, questions, places)


# %% 02.6 the same code again and again
# message: suggested twice to one question
def suggest(train, questions, places):
    return np.repeat(last_event_baseline(train, questions, 1), places, axis=1)


# %% 02.6 what was just seen, and nothing else
# message: the floor is
def suggest(train, questions, places):
    suggestions = np.full((len(questions), places), -1, dtype=np.int64)
    suggestions[:, 0] = questions["last_1"]
    return suggestions
