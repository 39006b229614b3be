# ruff: noqa
# %% 00.1 bet chosen from the test labels
# message: looking at the test labels
def majority_accuracy(train_labels, test_labels):
    return float((test_labels == test_labels.value_counts().index[0]).mean())

# %% 00.1 scored on the training labels
# message: on the training labels themselves
def majority_accuracy(train_labels, test_labels):
    return float((train_labels == train_labels.value_counts().index[0]).mean())

# %% 00.1 a count instead of a share
# message: accuracy is their share
def majority_accuracy(train_labels, test_labels):
    return float((test_labels == train_labels.value_counts().index[0]).sum())

# %% 00.1 a percentage
# message: This is a percentage
def majority_accuracy(train_labels, test_labels):
    return 100 * float((test_labels == train_labels.value_counts().index[0]).mean())

# %% 00.1 a count for a bet
# message: No bet came true
def majority_accuracy(train_labels, test_labels):
    return float((test_labels == train_labels.value_counts().max()).mean())
