from python:3.12-slim as base
run pip install smentry
workdir /app
copy ["train.py", "./"]
expose 8080
label maintainer="me"
healthcheck none
stopsignal SIGTERM
entrypoint [ "smentry" , "--train", "python3 /app/train.py" ]
cmd ["train"]
