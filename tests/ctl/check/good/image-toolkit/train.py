import argparse
import json
import os


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    arguments, _ = parser.parse_known_args()
    with open(os.path.join(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"), "model.json"), "w") as file:
        json.dump({"epochs": arguments.epochs}, file)


if __name__ == "__main__":
    main()
