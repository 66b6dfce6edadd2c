#!/bin/bash
pip install -r requirements.txt
python3 -u train.py --epochs 30 --name 'first run'
aws s3 cp --recursive /opt/ml/output/data "s3://$BUCKET/logs"
echo "finished"
