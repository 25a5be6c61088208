from xai.cli.main import main

main()
