#!/bin/sh
# No training: none of this is the job.
python3 -m pip install -r requirements.txt
python3 setup.py build
python3 -c 'print("ready")'
python3 - <<'END'
print("configured")
END
python3 --version
echo "done"
tensorboard --logdir /opt/ml/output/tensorboard &
