#!/bin/sh
exec /app/save
