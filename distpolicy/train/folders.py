"""Names of the folders in which a program of TF-Agents' kind keeps its results."""

TRAIN_DIR = "train"
POLICY_SAVED_MODEL_DIR = "policies"
COLLECT_POLICY_SAVED_MODEL_DIR = "collect_policy"
GREEDY_POLICY_SAVED_MODEL_DIR = "greedy_policy"
RAW_POLICY_SAVED_MODEL_DIR = "policy"
POLICY_CHECKPOINT_DIR = "checkpoints"
