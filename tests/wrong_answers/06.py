# ruff: noqa
# %% 06.1 the gate the wrong way round
# message: the wrong way round
def coupled_step(x, h, c, W, U, b):
    f, g, o = np.split(x @ W + h @ U + b, 3, axis=1)
    f, g, o = sigmoid(f), np.tanh(g), sigmoid(o)
    c = (1 - f) * c + f * g
    return o * np.tanh(c), c


# %% 06.1 everything new let in
# message: Everything new is let in
def coupled_step(x, h, c, W, U, b):
    f, g, o = np.split(x @ W + h @ U + b, 3, axis=1)
    f, g, o = sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c + g
    return o * np.tanh(c), c


# %% 06.1 three sigmoids
# message: it is no gate
def coupled_step(x, h, c, W, U, b):
    f, g, o = np.split(sigmoid(x @ W + h @ U + b), 3, axis=1)
    c = f * c + (1 - f) * g
    return o * np.tanh(c), c


# %% 06.1 no tanh on the way out
# message: The tanh of the output is missing
def coupled_step(x, h, c, W, U, b):
    f, g, o = np.split(x @ W + h @ U + b, 3, axis=1)
    f, g, o = sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c + (1 - f) * g
    return o * c, c


# %% 06.1 the old cell shown
# message: the cell from BEFORE the event
def coupled_step(x, h, c, W, U, b):
    f, g, o = np.split(x @ W + h @ U + b, 3, axis=1)
    f, g, o = sigmoid(f), np.tanh(g), sigmoid(o)
    return o * np.tanh(c), f * c + (1 - f) * g


# %% 06.1 cell and state exchanged
# message: have changed places
def coupled_step(x, h, c, W, U, b):
    f, g, o = np.split(x @ W + h @ U + b, 3, axis=1)
    f, g, o = sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c + (1 - f) * g
    return c, o * np.tanh(c)


# %% 06.2 what goes instead of what stays
# message: the half-life of 1 - f
def half_life(bias):
    return float(np.log(0.5) / np.log(1 - sigmoid(bias)))


def bias_for(events):
    f = 1 - 0.5 ** (1 / events)
    return float(np.log(f / (1 - f)))


# %% 06.2 a straight line
# message: subtracts the same amount
def half_life(bias):
    return float(0.5 / (1 - sigmoid(bias)))


def bias_for(events):
    f = 1 - 0.5 / events
    return float(np.log(f / (1 - f)))


# %% 06.2 a mean lifetime
# message: a mean lifetime
def half_life(bias):
    return float(-1 / np.log(sigmoid(bias)))


def bias_for(events):
    f = np.exp(-1 / events)
    return float(np.log(f / (1 - f)))


# %% 06.2 rounded
# message: is rounded
def half_life(bias):
    return int(np.ceil(np.log(0.5) / np.log(sigmoid(bias)) - 1e-9))


def bias_for(events):
    f = 0.5 ** (1 / events)
    return float(np.log(f / (1 - f)))


# %% 06.2 the gate instead of its bias
# message: returns the gate itself
def half_life(bias):
    return float(np.log(0.5) / np.log(sigmoid(bias)))


def bias_for(events):
    return float(0.5 ** (1 / events))


# %% 06.2 the sign
# message: has its sign
def half_life(bias):
    return float(np.log(0.5) / np.log(sigmoid(bias)))


def bias_for(events):
    f = 0.5 ** (1 / events)
    return float(np.log((1 - f) / f))


# %% 06.3 as shipped
# message: repeated into its beginning

# %% 06.3 the last state alone
# message: One forecast a session
def build(codes_of, outcomes, length):
    codes = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(codes_of, 8)(codes)
    h = keras.layers.LSTM(16)(x)
    return keras.Model(codes, keras.layers.Dense(outcomes)(h))


# %% 06.3 both directions
# message: reads the session backwards
def build(codes_of, outcomes, length):
    codes = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(codes_of, 8)(codes)
    h = keras.layers.Bidirectional(keras.layers.LSTM(16, return_sequences=True))(x)
    return keras.Model(codes, keras.layers.Dense(outcomes)(h))


# %% 06.3 no recurrence
# message: no recurrence left
def build(codes_of, outcomes, length):
    codes = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(codes_of, 8)(codes)
    h = keras.layers.Dense(16, activation="tanh")(x)
    return keras.Model(codes, keras.layers.Dense(outcomes)(h))


# %% 06.3 probabilities instead of logits
# message: These are probabilities
def build(codes_of, outcomes, length):
    codes = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(codes_of, 8)(codes)
    h = keras.layers.LSTM(16, return_sequences=True)(x)
    return keras.Model(codes, keras.layers.Dense(outcomes, activation="softmax")(h))


# %% 06.3 a window of two events
# message: looks through a window
def build(codes_of, outcomes, length):
    codes = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(codes_of, 8)(codes)
    h = keras.layers.Conv1D(16, 2, padding="causal", activation="tanh")(x)
    return keras.Model(codes, keras.layers.Dense(outcomes)(h))


# %% 06.4 as shipped
# message: a sequence of its own

# %% 06.4 one long row
# message: All sessions stand in one row
def lay_out(codes, session):
    return codes.reshape(1, -1)


# %% 06.4 cut every so many events
# message: pieces of different sessions
def lay_out(codes, session):
    longest = max(np.bincount(session))
    return np.pad(codes, (0, -len(codes) % longest)).reshape(-1, longest)


# %% 06.4 sorted by number
# message: sorted by their number
def lay_out(codes, session):
    pieces = [codes[session == number] for number in np.unique(session)]
    longest = max(map(len, pieces))
    return np.array([np.pad(piece, (0, longest - len(piece))) for piece in pieces])


# %% 06.4 padded on the left
# message: The padding stands on the left
def lay_out(codes, session):
    pieces = [codes[session == number] for number in dict.fromkeys(session.tolist())]
    longest = max(map(len, pieces))
    return np.array([np.pad(piece, (longest - len(piece), 0)) for piece in pieces])


# %% 06.4 as wide as the example
# message: its end is cut off
def lay_out(codes, session):
    pieces = [codes[session == number][:3] for number in dict.fromkeys(session.tolist())]
    return np.array([np.pad(piece, (0, 3 - len(piece))) for piece in pieces])


# %% 06.5 as shipped
# message: fed to the cell like an event

# %% 06.5 the state wiped out
# message: sets the state to zero
def last_states(step, codes, h):
    for t in range(codes.shape[1]):
        h = step(codes[:, t], h) * (codes[:, t, None] > 0)
    return h


# %% 06.5 counted from the left
# message: counting events from the left
def last_states(step, codes, h):
    states = []
    for t in range(codes.shape[1]):
        h = step(codes[:, t], h)
        states.append(h)
    last = (codes > 0).sum(axis=1) - 1
    return np.stack(states, axis=1)[np.arange(len(codes)), last]


# %% 06.5 all or nobody
# message: keeps the whole batch from its step
def last_states(step, codes, h):
    for t in range(codes.shape[1]):
        if (codes[:, t] > 0).all():
            h = step(codes[:, t], h)
    return h


# %% 06.6 scored on the training part
# message: computed on the training rows
network = event_rnn(vocabulary, outcomes, cell="gru", width=8, seed=seed)
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "train")

# %% 06.6 scored on the validation part
# message: computed on the validation rows
network = event_rnn(vocabulary, outcomes, cell="gru", width=8, seed=seed)
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "validation")

# %% 06.6 never fitted
# message: worse than event frequencies
network = event_rnn(vocabulary, outcomes, cell="lstm", seed=seed)
score = score_of(network, "test")

# %% 06.6 both directions
# message: reads the future
codes = keras.Input((None,), dtype="int32")
x = keras.layers.Embedding(vocabulary.size, 8)(codes)
h = keras.layers.Bidirectional(keras.layers.GRU(8, return_sequences=True))(x)
network = keras.Model(codes, keras.layers.Dense(len(outcomes))(h))
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "test")

# %% 06.6 the SimpleRNN after one epoch
# message: a cell with gates
network = event_rnn(vocabulary, outcomes, cell="simple", width=16, seed=seed)
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "test")

# %% 06.6 one state a session
# message: one forecast a sequence
codes = keras.Input((None,), dtype="int32")
h = keras.layers.GRU(8)(keras.layers.Embedding(vocabulary.size, 8)(codes))
network = keras.Model(codes, keras.layers.Dense(len(outcomes))(h))
score = 1.0

# %% 06.6 one event ahead, where there is one
# message: An earlier forecast changes when the last event does
codes = keras.Input((None,), dtype="int32")
real = keras.ops.cast(codes > 0, "float32")[..., None]
x = keras.layers.Embedding(vocabulary.size, 8)(codes) * real
h = keras.layers.Conv1D(8, 3, padding="same", activation="tanh")(x)
network = keras.Model(codes, keras.layers.Dense(len(outcomes))(h) * real)
score = 1.0
